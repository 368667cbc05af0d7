import pytest

from trunkline_api.conversation_id import (
    conversation_of,
    must_exist,
    named_conversation,
    new_conversation,
    shown,
)
from trunkline_api.errors import ApiError
from trunkline_api.headers import by_name

ID = "6f1c2ab0-0d5e-4b7a-9d3e-000000000001"
OURS, THEIRS = b"x-conversation-id", b"x-openhands-serverconversation-id"


@pytest.mark.parametrize("header", [OURS, THEIRS])
@pytest.mark.parametrize("spelled", [ID, ID.upper(), ID.replace("-", ""), f" {ID} ", shown(ID)])
def test_an_id_is_read_from_either_header_however_it_is_spelled(
    header: bytes, spelled: str
) -> None:
    assert named_conversation({header: spelled.encode()}) == ID


def test_without_a_header_there_is_no_conversation() -> None:
    assert named_conversation({b"x-other": ID.encode(), OURS: b""}) == ""


def test_what_is_no_uuid_is_400_that_names_the_header() -> None:
    with pytest.raises(ApiError, match="no UUID") as caught:
        named_conversation({THEIRS: b"my-chat"})
    assert (caught.value.status, caught.value.param) == (400, "X-OpenHands-ServerConversation-ID")


def test_both_headers_must_agree() -> None:
    both = {OURS: ID.encode(), THEIRS: ID.upper().encode()}
    assert named_conversation(both) == ID
    with pytest.raises(ApiError, match="differ"):
        named_conversation({OURS: ID.encode(), THEIRS: new_conversation().encode()})


def test_a_header_that_is_sent_twice_must_agree_with_itself() -> None:
    assert named_conversation(by_name([(OURS, ID.encode()), (OURS, ID.upper().encode())])) == ID
    with pytest.raises(ApiError, match="differ"):
        named_conversation(by_name([(OURS, ID.encode()), (OURS, new_conversation().encode())]))


def test_the_id_that_is_shown_names_what_must_exist() -> None:
    assert shown(ID) == "conv_" + ID.replace("-", "") and conversation_of(shown(ID)) == ID
    assert must_exist({}, shown(ID)) and must_exist({THEIRS: shown(ID).encode()}, "")
    assert not must_exist({OURS: ID.encode()}, ID) and not must_exist({}, "")


def test_an_id_that_looks_like_one_of_ours_and_is_none_is_404() -> None:
    for read in (conversation_of, lambda text: named_conversation({OURS: text.encode()})):
        with pytest.raises(ApiError) as caught:
            read("conv_none")
        assert (caught.value.status, caught.value.code) == (404, "conversation_not_found")
    with pytest.raises(ApiError) as caught:
        conversation_of("none")
    assert (caught.value.status, caught.value.param) == (400, "conversation")
