import pytest

from trunkline_shared.addresses import check_reachable_url, is_link_local

FORBIDDEN = [
    "169.254.169.254",
    "169.254.0.1",
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "169.16689662",
    "%31%36%39.254.169.254",
    "\uff11\uff16\uff19.254.169.254",
    "169\u3002254\u3002169\u3002254",
    "fe80::1",
    "[fe80::1]",
    "fe80::1%eth0",
    "FE80:0:0::1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata",
    "instance-data",
]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_link_local_and_metadata_addresses_are_known_in_any_spelling(host: str) -> None:
    assert is_link_local(host)


@pytest.mark.parametrize(
    "host",
    [
        *("api.openai.com", "localhost", "ollama", "127.0.0.1", "10.0.0.1", "192.168.1.1"),
        *("::1", "fd00::1", "2001:db8::1", "169.253.1.1", "100.100.100.201", "8.8.8.8", ""),
        "metadata.example.com",
    ],
)
def test_other_hosts_are_none_of_them(host: str) -> None:
    assert not is_link_local(host)


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "[::ffff:a9fe:a9fe]"])
@pytest.mark.parametrize("form", ["http://{}", "https://{}:8080/v1?x=y", "http://{}/"])
def test_a_url_with_such_a_host_is_refused_unless_that_is_allowed(host: str, form: str) -> None:
    url = form.format(host)
    with pytest.raises(ValueError, match="TRUNKLINE_ALLOW_LINK_LOCAL"):
        check_reachable_url(url, allow_link_local=False)
    check_reachable_url(url, allow_link_local=True)


@pytest.mark.parametrize(
    "url",
    [
        *("", "h/v1", "ftp://h/", "http://", "http:///v1", "file:///etc/passwd", "http://[::1"),
        *("http://h:99999/", "http://a b/", "http://u:p@h/", "http://key@h/"),
    ],
)
def test_what_is_no_plain_http_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        check_reachable_url(url, allow_link_local=True)
