"""What agents refuse that have nothing but words."""

from trunkline_shared.events import Failed
from trunkline_shared.run import RunRequest


def refusal(request: RunRequest) -> Failed | None:
    """Why this request cannot be answered; None: it can."""
    if request.tool_choice and request.tool_choice["mode"] in (
        "required",
        "named",
        "allowed_required",
    ):
        what, param = "call tools", "tool_choice"
    elif request.format and request.format["type"] != "text":
        what, param = f"answer in the format {request.format['type']}", "response_format"
    elif request.options.get("logprobs"):
        what, param = "give log probabilities", "logprobs"
    else:
        return None
    return Failed("invalid_request", f"The agent {request.agent} cannot {what}.", param=param)
