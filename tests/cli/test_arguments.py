import pytest

from trunkline import __version__
from trunkline.arguments import parse
from trunkline.settings import ServeSettings, as_environ, is_given
from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import ConfigError
from trunkline_worker.settings import WorkerSettings


def test_options_that_are_not_given_are_none() -> None:
    arguments = parse(["serve"])
    assert arguments.config is None
    assert set(arguments.options.values()) == {None}


def test_serve_api_is_another_name_of_serve() -> None:
    assert parse(["serve-api", "agents.yml"]).command == "serve"


def test_options_and_the_variables_made_of_them_say_the_same() -> None:
    line = "serve a.yml --host ::1 --port 81 --api-key one --api-key two --no-docs --slots 7"
    line += " --pool a,b --drain-s 1.5 --workers 3 --cors-origins * --data-dir d"
    options = parse(line.split()).options
    for settings in (ApiSettings, WorkerSettings, ServeSettings):
        given = settings.from_environ({}, **options)
        assert given == settings.from_environ(as_environ(options))
    assert ApiSettings.from_environ({}, **options).api_key == ("one", "two")
    assert ApiSettings.from_environ({}, **options).docs is False


@pytest.mark.parametrize("command", ["serve", "serve-api", "api"])
@pytest.mark.parametrize(
    ("flags", "origins", "docs"),
    [
        ("--host h --port 1", ("http://a",), False),
        ("--cors --docs", ("*",), True),
        ("--no-cors --no-docs", (), False),
        ("--cors-origins http://b,http://c", ("http://b", "http://c"), False),
    ],
)
def test_flags_win_over_the_variables_for_browsers_and_the_reference(
    command: str, flags: str, origins: tuple[str, ...], docs: bool
) -> None:
    environ = {"TRUNKLINE_CORS_ORIGINS": "http://a", "TRUNKLINE_DOCS": "false"}
    options = parse([command, "config.yml", *flags.split()]).options
    settings = ApiSettings.from_environ(environ, **options)
    assert (settings.cors_origins, settings.docs) == (origins, docs)
    assert settings == ApiSettings.from_environ({**environ, **as_environ(options)})


def test_origins_are_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["serve", "--cors", "--cors-origins", "http://a"])
    assert "--cors-origins: not allowed with argument --cors" in capsys.readouterr().err


def test_browsers_are_let_in_only_when_asked_for() -> None:
    assert ApiSettings.from_environ({}, **parse(["serve-api"]).options).cors_origins == ()


def test_every_option_is_a_setting() -> None:
    known = {
        name
        for settings in (ApiSettings, WorkerSettings, ServeSettings)
        for name in settings.__dataclass_fields__
    }
    assert set(parse(["serve"]).options) <= known


@pytest.mark.parametrize("command", ["api", "worker", "check"])
def test_other_commands_need_a_config(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([command])
    assert ended.value.code == 2
    assert "CONFIG" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "variables"),
    [(["serve"], True), (["worker"], True), (["check"], False), (["keys"], False)],
)
def test_help_speaks_of_variables_only_where_there_are_options(
    command: list[str], variables: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse([*command, "--help"])
    assert ("TRUNKLINE_" in capsys.readouterr().out) is variables


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"trunkline {__version__}\n"


def test_a_setting_is_given_by_option_or_variable() -> None:
    assert is_given("host", {"host": "127.0.0.1"}, {})
    assert is_given("host", {"host": None}, {"TRUNKLINE_HOST": "127.0.0.1"})
    assert not is_given("host", {"host": None}, {"TRUNKLINE_HOST": ""})


def test_data_lies_below_the_state_directory_unless_told_otherwise() -> None:
    assert str(ServeSettings().data_path({"XDG_STATE_HOME": "/s"})) == "/s/trunkline"
    assert ServeSettings().data_path({"XDG_STATE_HOME": "s"}).parts[-3:] == (
        ".local",
        "state",
        "trunkline",
    )
    assert ServeSettings(data_dir="here").data_path({}).is_absolute()


def test_serve_without_workers_is_refused() -> None:
    with pytest.raises(ConfigError, match="--workers"):
        ServeSettings.from_environ({}, workers="0")
