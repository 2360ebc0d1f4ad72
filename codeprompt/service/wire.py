"""The shapes of requests and answers, as the OpenAPI document tells them.

`codeprompt.client.messages` mirrors the answers without pydantic.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from codeprompt.pack.card import NAME
from codeprompt.service.ask import ROUTES, Ask, PriorityName

TaskName = Literal["summarize", "translate", "defects", "localize"]
DAY_MS = 86_400_000
MOST_REQUESTS = 256
"""Of one batch."""
PACK = rf"^{NAME.pattern}(@[0-9a-f]{{1,64}})?$"
Word = Annotated[str, Field(min_length=1, max_length=64)]
PathText = Annotated[str, Field(min_length=1, max_length=4096)]
PackName = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
VersionName = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]


class Body(BaseModel):
    """A request's body: unknown fields are refused, and numbers are not taken for texts."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AskBody(Body):
    """A text to answer for: every function of it, the one named, or the text as it stands."""

    code: str = Field(description="Source text in any supported language.")
    language: Word | None = Field(None, description="By default told by the ending of `file`.")
    file: PathText | None = Field(
        None, description="What the code is from: named in the answer, and never opened."
    )
    function: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        None, description="Only this one: run, or Server.run."
    )
    whole: bool = Field(
        False, description="One answer for the text as it stands; `function` is its name then."
    )
    imports: Annotated[str, Field(max_length=32768)] | None = Field(
        None,
        description="With `whole`: what the file that the text is from imports, as names with "
        "commas between.",
    )
    pack: Annotated[str, Field(pattern=PACK)] | None = Field(
        None, description="A name, or NAME@VERSION; by default the task's own."
    )
    priority: PriorityName = Field("explicit", description="How soon it is needed.")
    deadline_ms: Annotated[int, Field(ge=1, le=DAY_MS)] | None = Field(
        None, description="From now on; past it the answer is 408."
    )
    target_language: Word | None = Field(None, description="For packs that translate.")
    project: PathText | None = Field(
        None,
        description="The full path of a folder on the engine's machine, which only requests over "
        "its Unix socket may name: packs in `.codeprompt/packs` there, and above up to the git "
        "root, answer too, before all others.",
    )

    def ask(self) -> Ask:
        """The same for the Python API."""
        return Ask(**{name: getattr(self, name) for name in Ask.__dataclass_fields__})


class StreamBody(AskBody):
    """The same, answered at once or as it comes."""

    stream: bool = Field(False, description="Answer by server-sent events, as tokens come.")


class BatchItem(AskBody):
    """One question of a batch; its priority is `batch`, whatever it says."""

    task: TaskName

    @property
    def task_name(self) -> str:
        """As the registry has it."""
        return ROUTES[self.task]


class BatchBody(Body):
    """Many questions at once."""

    requests: Annotated[list[BatchItem], Field(max_length=MOST_REQUESTS)]


class VersionBody(Body):
    """A version of a pack."""

    version: VersionName


class RetireBody(Body):
    """A version to retire; None for all of them."""

    version: VersionName | None = None


class JobBody(Body):
    """A tuning job, in the words of `codeprompt tune`.

    options: fields of the recipe (shots, steps, lr), the job's own (backbone, seeds, language,
    columns, dev_data, ...), and settings of the method; each is known by its name.
    """

    task: Word
    data: PathText = Field(
        description="`upload:ID`, `hub:ID` where the hub is allowed, or a full path on the "
        "engine's machine, which only requests over its Unix socket may name."
    )
    method: Word = "soft"
    recipe: Word = "few-shot"
    name: PackName | None = Field(None, description="Of the pack; by default the task's.")
    options: dict[str, Any] = {}


class Item(BaseModel):
    """One answer for one function: `text` from a pack that writes, `label` from one that sorts.

    A pack that labels lines gives one item a line that it tells, and one for the function if none.
    """

    index: int | None = Field(None, description="Of the function; in event streams alone.")
    file: str | None
    function: str
    start_line: int
    end_line: int
    text: str | None = None
    label: str | None = None
    score: float | None = Field(
        description="Probability of the positive label, or mean log-probability of the tokens."
    )
    pack: str
    version: str
    cached: bool


class Results(BaseModel):
    """Answers in the order of the functions."""

    results: list[Item]
    request_id: str


class Failure(BaseModel):
    """What went wrong. code: what programs go by."""

    code: str
    message: str
    request_id: str


class Error(BaseModel):
    """The shape of every error."""

    error: Failure


class BatchResults(BaseModel):
    """For each question its answers, or why there are none."""

    results: list[list[Item] | Error]
    request_id: str


class PackVersion(BaseModel):
    """A version of a pack. source: `upload` or `job:ID`."""

    version: str
    hash: str
    method: str
    backbone: str
    created: str
    bytes: int
    source: str
    retired: bool


class PackInfo(BaseModel):
    """A pack. version: the one described. active: the one that answers, null where none does.

    where: `service`, or the folder it was found in: `project`, `user`, `package`.
    """

    name: str
    task: str
    version: str
    active: str | None
    versions: list[PackVersion]
    backbone: str
    hash: str
    created: str
    where: Literal["service", "project", "user", "package"]


class PackDetail(PackInfo):
    """card: of the version described, as its `card.json`; null where its files were removed."""

    card: dict[str, Any] | None


class PackList(BaseModel):
    """Every pack that a name finds."""

    packs: list[PackInfo]


class UploadInfo(BaseModel):
    """Data that is here; a job names it `upload:ID`."""

    id: str
    fingerprint: str
    rows: int
    bytes: int


class JobInfo(BaseModel):
    """A job. detail: its specification, progress, moments and error."""

    id: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    detail: dict[str, Any]


class JobList(BaseModel):
    """All jobs, newest first."""

    jobs: list[JobInfo]


class Health(BaseModel):
    """Who answers."""

    status: Literal["ok"]
    version: str
    pid: int
    api: Literal[1]


class Ready(BaseModel):
    """A backbone answers."""

    status: Literal["ready"]


class Cleared(BaseModel):
    """How many cached answers were forgotten."""

    cleared: int


class Status(BaseModel):
    """What is loaded, waiting and running."""

    version: str
    ready: bool
    draining: bool
    in_flight: int
    idle_seconds: float
    up_seconds: float
    backbones: list[dict[str, Any]]
    memory: dict[str, int]
    cache: dict[str, int]
    packs: int
    jobs: dict[str, int]


class Leaving(BaseModel):
    """It takes nothing new, finishes what it has, and ends."""

    status: Literal["draining"]
