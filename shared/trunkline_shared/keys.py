"""Every Redis key and channel. Nothing outside this file knows the layout.

Keys of one thing are a fixed stem plus an id, so that the scripts can build them too: `stems`
hands them the same ones.
"""

from dataclasses import dataclass

# stem -> what follows it, and what lies there
_STEMS = {
    "run": "run:",  # + run id: hash, the run's state
    "log": "log:",  # + run id: stream, its events
    "journal": "journal:",  # + run id: list, which steps of the run are done; goes with its end
    "record": "record:",  # + run id: string, sealed: what a stored run was asked; lives `retention`
    "responses": "responses:",  # + principal: sorted set of its stored responses, see `submit.lua`
    "completions": "completions:",  # + principal: the same of its stored completions
    "listed": "listed:",  # + mark: those of them that a model or a pair of metadata finds
    "result": "result:",  # + run id: string, sealed: the folded result of a stored run
    "idem": "idem:",  # + principal, SHA-256 of an Idempotency-Key, hex: string, see `submit.lua`
    "conversation": "conversation:",  # + id: hash, see `prelude.lua`; lives `retention`
    "turns": "turns:",  # + conversation id: list of its turns, sealed
    "places": "places:",  # + conversation id: hash, run id -> place of its turn in that list
    "session": "session:",  # + conversation id: list, a coding agent's record, sealed; `retention`
    "waiting": "waiting:",  # + conversation id: list of the runs that wait for their turn
    "about": "about:",  # + conversation id: hash, the title and tags that callers gave it
    "conversations": "conversations:",  # + principal: sorted set, conversation id -> Unix ms
    "queue": "queue:",  # + pool: sorted set in arq's format, run id -> Unix ms of the submit
    "suspects": "suspects:",  # + pool: the same, of runs that crashed two workers
    "wake": "wake:",  # + pool: list of wake tokens
    "workers": "workers:",  # + pool: sorted set, worker id -> Unix ms of its last renewal
    "stats": "stats:",  # + pool: hash, the measured wait
    "lease": "lease:",  # + worker id: string that expires
    "agents": "agents:",  # + worker id: set of the agents it can run
    "held": "held:",  # + worker id: hash, run id -> original score in its queue
    "cancels": "cancels:",  # + worker id: set of held runs to be cancelled
    "active": "active:",  # + principal: set of its runs that are not over
    "control": "control:",  # + worker id: channel, run ids to cancel
    "reply": "reply:",  # + API process id: channel, frames of its runs
    "tail": "tail:",  # + API process id: stream that expires, wakes its reading of logs
    "pools": "pools",  # set of pools that ever had a worker
    "holders": "holders",  # set of worker ids with a lease, or of late: they may hold runs
    "waits": "waits",  # sorted set of all runs that wait for their turn -> Unix ms of their end
    "profiles": "profiles",  # hash, name -> sealed LLM; stays until it is deleted
    "active_profile": "profiles:active",  # string, the name of the one last activated
    "outbox": "outbox",  # stream of ended turns that webhooks are to hear of
    "outbox_responses": "outbox:responses",  # the same of ended responses; lives `retention`
    "outbox_of": "outbox:of:",  # + webhook: the same, of one webhook; lives `retention`
    "api_keys": "api_keys",  # hash: a key's SHA-256, hex -> its record; kept for ever
    "born": "born",  # hash: model -> Unix s when it was first listed; kept for ever
    "outbox_lease": "outbox:lease",  # string that expires: which process delivers
    "principals": "principals",  # set of principals with an `active` set
    "sweep_last": "sweep:last",  # Unix ms of the last sweep
    "sweep_hold": "sweep:hold",  # while it lives, no run is taken from any worker
    "sweep_tidy": "sweep:tidy",  # while it lives, the slow part of the sweep rests
}


@dataclass(frozen=True, slots=True)
class Keys:
    prefix: str = "trunkline"

    def stems(self) -> dict[str, str]:
        """What the scripts build their keys from, by the name of the thing."""
        return {name: self._stem(name) for name in _STEMS} | {"job": self.job("")}

    def run(self, run_id: str) -> str:
        return self._stem("run") + run_id

    def log(self, run_id: str) -> str:
        return self._stem("log") + run_id

    def journal(self, run_id: str) -> str:
        return self._stem("journal") + run_id

    def job(self, run_id: str) -> str:
        """arq's own key, the one without our prefix."""
        return f"arq:job:{run_id}"

    def result(self, run_id: str) -> str:
        return self._stem("result") + run_id

    def idem(self, name: str) -> str:
        """Of a principal and a key, in one name."""
        return self._stem("idem") + name

    def record(self, run_id: str) -> str:
        return self._stem("record") + run_id

    def responses(self, principal: str) -> str:
        return self._stem("responses") + principal

    def completions(self, principal: str) -> str:
        return self._stem("completions") + principal

    def listed(self, mark: str) -> str:
        return self._stem("listed") + mark

    def conversation(self, conversation: str) -> str:
        return self._stem("conversation") + conversation

    def turns(self, conversation: str) -> str:
        return self._stem("turns") + conversation

    def places(self, conversation: str) -> str:
        return self._stem("places") + conversation

    def session(self, conversation: str) -> str:
        return self._stem("session") + conversation

    def waiting(self, conversation: str) -> str:
        return self._stem("waiting") + conversation

    def about(self, conversation: str) -> str:
        return self._stem("about") + conversation

    def conversations(self, principal: str) -> str:
        return self._stem("conversations") + principal

    @property
    def api_keys(self) -> str:
        return self._stem("api_keys")

    @property
    def born(self) -> str:
        return self._stem("born")

    @property
    def profiles(self) -> str:
        return self._stem("profiles")

    @property
    def active_profile(self) -> str:
        return self._stem("active_profile")

    @property
    def outbox(self) -> str:
        return self._stem("outbox")

    @property
    def outbox_responses(self) -> str:
        return self._stem("outbox_responses")

    def outbox_of(self, webhook: str) -> str:
        return self._stem("outbox_of") + webhook

    @property
    def outbox_lease(self) -> str:
        return self._stem("outbox_lease")

    def queue(self, pool: str) -> str:
        return self._stem("queue") + pool

    def suspects(self, pool: str) -> str:
        return self._stem("suspects") + pool

    def wake(self, pool: str) -> str:
        return self._stem("wake") + pool

    def workers(self, pool: str) -> str:
        return self._stem("workers") + pool

    def lease(self, worker: str) -> str:
        return self._stem("lease") + worker

    def agents(self, worker: str) -> str:
        return self._stem("agents") + worker

    def held(self, worker: str) -> str:
        return self._stem("held") + worker

    def cancels(self, worker: str) -> str:
        return self._stem("cancels") + worker

    def active(self, principal: str) -> str:
        return self._stem("active") + principal

    def control(self, worker: str) -> str:
        return self._stem("control") + worker

    def reply(self, api: str) -> str:
        return self._stem("reply") + api

    def tail(self, api: str) -> str:
        return self._stem("tail") + api

    def _stem(self, name: str) -> str:
        return f"{self.prefix}:{_STEMS[name]}"
