import pytest

from trunkline_api.conversation_id import named_conversation, new_conversation
from trunkline_api.errors import ApiError
from trunkline_api.headers import by_name

ID = "6f1c2ab0-0d5e-4b7a-9d3e-000000000001"
OURS, THEIRS = b"x-conversation-id", b"x-openhands-serverconversation-id"


@pytest.mark.parametrize("header", [OURS, THEIRS])
@pytest.mark.parametrize("spelled", [ID, ID.upper(), ID.replace("-", ""), f" {ID} "])
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
