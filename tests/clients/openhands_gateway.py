"""A client of OpenHands' gateway: its launcher, its own API for a profile, OpenAI's SDK to talk.

A program of its own, run as one; it knows nothing of Trunkline. It asks for a port with PORT.
"""

import os
import uuid

import httpx
import openai

from scripts.utils import ManagedAPIServer

HEADER = "X-OpenHands-ServerConversation-ID"
MODEL = "openhands_gateway_demo"
GIVEN = {
    "OH_ENABLE_VNC": "0",
    "OH_ENABLE_VSCODE": "0",
    "OH_PRELOAD_TOOLS": "0",
    "OH_WEBHOOKS": "[]",
}


def talk(api: httpx.Client, client: openai.OpenAI) -> None:
    llm = {name: os.environ[f"LLM_{name.upper()}"] for name in ("model", "api_key", "base_url")}
    saved = api.post("/api/profiles/gateway_demo", json={"llm": llm, "include_secrets": True})
    assert saved.status_code == 201, saved.text
    assert MODEL in [model.id for model in client.models.list().data]
    print("model:", MODEL)

    system = {"role": "system", "content": "Answer directly and do not use tools."}
    question = {"role": "user", "content": "What is a gateway for?"}
    first = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[system, question]
    )
    conversation = first.headers[HEADER]
    print("first:", first.parse().choices[0].message.content)
    print("conversation:", uuid.UUID(conversation))
    assert api.get(f"/api/conversations/{conversation}").status_code == 200

    second = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What did I ask?"}],
        extra_headers={HEADER: conversation},
    )
    print("second:", second.choices[0].message.content)
    shown = api.get(f"/api/conversations/{conversation}").json()
    metrics = shown["stats"]["usage_to_metrics"].values()
    cost = sum(each["accumulated_cost"] for each in metrics)

    assert api.delete(f"/api/conversations/{conversation}").status_code == 200
    assert api.delete("/api/profiles/gateway_demo").status_code == 200
    print("cost:", cost)


with ManagedAPIServer(
    port=int(os.environ["PORT"]),
    use_session_api_key=True,
    extra_env={**GIVEN, "OH_SECRET_KEY": "a secret key of the example's own"},
    health_request_timeout=2.0,
) as server:
    preset = os.getenv("SESSION_API_KEY") or os.getenv("OH_SESSION_API_KEYS_0")
    key = preset or server.session_api_key
    assert key is not None
    with (
        httpx.Client(base_url=server.base_url, headers={"X-Session-API-Key": key}) as api,
        openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0) as client,
    ):
        talk(api, client)
