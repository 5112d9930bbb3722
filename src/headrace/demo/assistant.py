"""Takes the shipped assistant through the loop, by the operations that a user or a scheduler would call.

Index, first version, gates, Production; questions with simulated feedback; prompts tuned on it; a sticky A/B; another route; the
cost. A real model on this machine answers thirty of the questions; everything else is asked of deterministic endpoints that speak
the same protocol. Run again it goes on where it was stopped, and asks nothing twice that was answered.
"""

from __future__ import annotations

import json
import statistics
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError
from headrace.demo.approval import approve
from headrace.demo.children import endpoint, local_model, server
from headrace.demo.conversation import ask, opinion, tell
from headrace.demo.journal import Journal
from headrace.demo.project_folder import release
from headrace.operations.deploy import deploy
from headrace.operations.feedback import feedback_to_dataset, summarize_feedback
from headrace.operations.ingest_log import ingest_log
from headrace.operations.models import list_versions
from headrace.operations.refresh import refresh
from headrace.operations.sql import query
from headrace.operations.tables import list_tables
from headrace.operations.traffic import reconcile_traffic, show_traffic
from headrace.operations.train import train
from headrace.operations.tune import tune

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from headrace.operations.job import Listener
    from headrace.operations.models import VersionReport
    from headrace.operations.operation import At

APPROVER = "maria"
MODEL, ON_DEVICE = "assistant", "assistant_on_device"
LEARNT = "gold.from_feedback"
PEOPLE, EACH = 64, 4  # who ask in the A/B, each of them so many questions, and each sticks to a version
ENDPOINTS = {  # route of headrace.toml → its model and what answers
    "small": ("extractive", "headrace.testing.extractive:small"),
    "large": ("extractive-large", "headrace.testing.extractive:extractive"),
    "judge": ("judge", "headrace.testing.extractive:judge"),
    "reflect": ("reflect", "headrace.testing.extractive:reflection"),
}
STAND_IN, REAL = "deterministic stand-in", "SmolLM2 on this machine"
LARGER = (
    'route = hr.Route("small")',
    'route = hr.Route("small", "large", accept=lambda text: "do not know" not in text)',
)


@dataclass(frozen=True)
class UserQuestion:
    """A question of somebody.

    Attributes:
        part: of the demo in which it is asked.
        question: `id`, `question` and `reference`.
        user: who asks.
    """

    part: str
    question: Mapping[str, str]
    user: str

    @property
    def name(self) -> str:
        """What it is known by, in the journal and as the caller's id of the request in the log."""
        return f"{self.part}-{self.question['id']}-{self.user}"


@dataclass
class Tour:
    """One demo, in an environment.

    Attributes:
        at: the environment.
        folder: of the project.
        ports: route → port of its endpoint; and of the servers, by model.
        questions: that are asked: `id`, `question` and `reference`.
        real: how many of them a real model answers; 0 where none is installed.
        begin: called with the name of each part.
        note: called with the name of something that is no pipeline, and what it did.
        listen: called with each step that ends.
        journal: what is behind it, and what came of it.
    """

    at: At
    folder: Path
    ports: Mapping[str, int]
    questions: Sequence[Mapping[str, str]]
    real: int
    begin: Callable[[str], None]
    note: Callable[[str, str], None]
    listen: Listener
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / ".headrace")

    def run(self) -> None:
        """Everything."""
        journal = self.journal
        with ExitStack() as running:
            for route, (model, reply) in ENDPOINTS.items():
                running.enter_context(endpoint(self.ports[route], model, reply, self._log(route)))
            journal.once("index", self.index)
            journal.once("first", self.first)
            journal.once("converse", self.converse)
            if self.real:
                journal.once("real", self.on_device)
            journal.once("tuned", self.tuned)
            journal.once("contest", self.contest)
            journal.once("route", self.route)

    def index(self) -> None:
        """The documents, and their index."""
        self.begin("index: 1,836 documents, embedded by MiniLM on this machine")
        refresh(self.at, listen=self.listen)

    def first(self) -> None:
        """The first version."""
        self.begin(f"version 1: the first prompt, evaluated on 60 questions ({STAND_IN})")
        train(self.at, MODEL, listen=self.listen)
        self.deliver(MODEL, 1)

    def tuned(self) -> None:
        """A better prompt, by what people said."""
        self.begin(f"prompt tuned on the feedback ({STAND_IN})")
        done = tune(self.at, MODEL, listen=self.listen)
        if done.version is None:
            raise HeadraceError("the tuning found nothing better.", findings=[done.found.summary()])
        self.journal.found["tuned"], self.journal.found["prompt"] = done.version, done.found.prompts["answer"]

    def route(self) -> None:
        """The tuned prompt, committed, on two models: the small one first."""
        self.begin("version 3: small first, large where it does not know")
        changes = {"assistant/project.py": LARGER, "assistant/answer.md": (None, self.journal.found["prompt"])}
        release(self.folder, "v0.2.0", changes)
        self.journal.found["route"] = train(self.at, MODEL, listen=self.listen).version
        self.deliver(MODEL, self.journal.found["route"], may_fail=True)

    def converse(self) -> None:
        """Questions to the version in Production, streamed, and what simulated people say of the answers."""
        self.begin(f"questions to version 1 ({STAND_IN}), feedback (simulated)")
        asked = self._talk(
            MODEL, [UserQuestion("first", each, f"user-{place}") for place, each in enumerate(self.questions)]
        )
        ingest_log(self.at, MODEL, [], listen=self.listen)
        told = summarize_feedback(self.at, MODEL)
        lag = max(each.lag_seconds for each in told.rates)
        self.journal.found["feedback"] = {"rows": told.rows, "lag_seconds": lag}
        self.note(
            "feedback", f"{told.rows} rows on {len(asked)} answers, in the table {lag:.1f} s after they were said"
        )
        made = feedback_to_dataset(self.at, MODEL, LEARNT)
        self.note(f"dataset {LEARNT}", f"{made.rows} examples")

    def on_device(self) -> None:
        """The same function and prompt, answered by a real model."""
        self.begin(f"the same on a real model ({REAL})")
        with local_model(self.ports["smollm2"], self._log("smollm2")):
            version = train(self.at, ON_DEVICE, listen=self.listen).version
            self.deliver(ON_DEVICE, version)
            asked = [
                UserQuestion("real", each, f"user-{place}") for place, each in enumerate(self.questions[: self.real])
            ]
            answers = self._talk(ON_DEVICE, asked, says=False)
        seen = [each for each in answers if each["pieces"] is not None]  # of others, a process that died saw the stream
        self.journal.found["real"] = {"answers": len(answers), "pieces": sum(each["pieces"] for each in seen)}
        first = statistics.median_high([each["first_ms"] / 1000 for each in seen] or [0.0])
        self.note("served with streaming", f"{len(answers)} answers by {REAL}, first word after {first:.1f} s")

    def contest(self) -> None:
        """A sticky A/B of the tuned prompt and the version in Production, on the feedback of simulated people."""
        version: int = self.journal.found["tuned"]
        self.begin(f"A/B of version {version} against version 1 on feedback ({STAND_IN}, people simulated)")
        self.deliver(MODEL, version)
        count = len(self.questions)
        asked = [
            UserQuestion(f"contest-{place // count}", self.questions[place % count], f"person-{place % PEOPLE}")
            for place in range(EACH * PEOPLE)
        ]
        self._talk(MODEL, asked)
        ingest_log(self.at, MODEL, [], listen=self.listen)
        reconcile_traffic(self.at)
        outcome = show_traffic(self.at, MODEL).outcome
        if outcome is None or outcome.winner is None:
            raise HeadraceError("the A/B has no winner.", hint=f"headrace traffic show {MODEL} --env prod")
        self.journal.found["rollout"] = {
            "winner": outcome.winner,
            "requests": outcome.requests,
            "p_value": outcome.p_value,
        }
        self.note(
            "winner", f"version {outcome.winner} by {outcome.metric}, version {self._current(MODEL)} is in Production"
        )

    def deliver(self, model: str, version: int, *, may_fail: bool = False) -> None:
        """Through the gates, with the approval of somebody else."""
        done = deploy(self.at, model, version=version, listen=self.listen)
        if done.ending == "waits for approval":
            assert done.request is not None, "waiting for approval, there is one"
            kept = self.folder / ".headrace" / "bootstrap.token"
            approve(
                self.at,
                done.request,
                approver=APPROVER,
                kept=kept,
                reason="the answers were read",
                note=self.note,
            )
            done = deploy(self.at, model, version=version, listen=self.listen)
        self.journal.passed[model, version] = done.ending != "refused"
        if done.ending not in ("in production", "on a rollout") and not may_fail:
            raise HeadraceError(
                f"{model} version {version} is not in Production: {done.ending}.", findings=done.findings
            )

    def _talk(self, model: str, asked: Sequence[UserQuestion], *, says: bool = True) -> list[dict[str, Any]]:
        """Asks questions, and says what is thought of the answers; what was answered before this process is not asked again."""
        known = self.journal.answers()
        if self.journal.resumed:
            for name, answer in self._logged(model).items():
                if name not in known:
                    self.journal.note(answer)
                    known[name] = answer
        with self._server(model):
            return [self._ask(model, each, known.get(each.name), says=says) for each in asked]

    def _ask(self, model: str, asked: UserQuestion, done: dict[str, Any] | None, *, says: bool) -> dict[str, Any]:
        if done is None:
            reply = ask(self.ports[model], model, asked.question["question"], asked.user, name=asked.name)
            done = {"name": asked.name, **asdict(reply)}
            self.journal.note(done)
        if says:
            said = {**opinion(done["text"], asked.question["reference"]), "id": asked.name, "user": asked.user}
            tell(self.ports[model], model, done["id"], said)
        return done

    def _logged(self, model: str) -> dict[str, dict[str, Any]]:
        """The answers in the log, by the names of their questions: one that was logged and not noted was given, too."""
        ingest_log(self.at, model, [], listen=self.listen)
        if all(each.table != f"inference.{model}" for each in list_tables(self.at).tables):
            return {}
        text = f"SELECT client_request_id, prediction_id, outputs FROM inference.{model} WHERE client_request_id IS NOT NULL"
        logged = query(self.at, text).rows()
        return {
            str(row["client_request_id"]): {
                "name": row["client_request_id"],
                "id": row["prediction_id"],
                "text": json.loads(str(row["outputs"]))["prediction"],
                "first_ms": None,
                "pieces": None,
            }
            for row in logged
        }

    def _server(self, model: str) -> Any:
        assert self.at.env is not None, "the demo names it"
        return server(self.folder, self.at.env, model, self.ports[model], self._log(model))

    def _log(self, name: str) -> Path:
        return self.folder / ".headrace" / f"{name}.log"

    def _current(self, model: str) -> int | None:
        return next((each.version for each in self.versions(model) if each.stage == "Production"), None)

    def versions(self, model: str) -> list[VersionReport]:
        """All versions of a model."""
        return [each for each in list_versions(self.at).versions if each.model == model]
