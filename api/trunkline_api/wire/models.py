"""The replies of the models endpoints, of health, and of everything that goes wrong."""

from typing import Literal

from pydantic import BaseModel


class ModelCapabilities(BaseModel):
    """What a request may ask; `refused` names options that are not among what it may."""

    tools: bool
    formats: bool
    sampling: bool
    logprobs: bool
    images: bool
    files: bool
    audio: bool
    refused: list[str]


class ModelAbout(BaseModel):
    type: str
    capabilities: ModelCapabilities


class ModelObject(BaseModel):
    """An agent or a profile, as a model. `description` and `trunkline` are ours; clients pass them
    over.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["trunkline", "openhands"]
    description: str | None = None
    trunkline: ModelAbout


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelObject]


class Health(BaseModel):
    status: Literal["ok", "ready"]


class ErrorObject(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """The body of every reply that is not 2xx."""

    error: ErrorObject
