"""The model, or the deployment, that an assertion is about: given by its declaration or its name, found in the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError
from headrace.deployment.declarations import Deployment
from headrace.operations.job import one_deployment, one_model
from headrace.training.declarations import Model

if TYPE_CHECKING:
    from headrace.testing.temporary_environment import Environment


def find_model(env: Environment, model: Model | str) -> Model:
    """The model of that name, as the environment's copy of the program declares it.

    Raises:
        NotFoundError: the program declares no such model.
        DeclarationError: it is neither a model nor a name.
    """
    if not isinstance(model, Model | str):
        raise DeclarationError(
            f"{type(model).__name__} is no model.", hint="Give the declaration, hr.Model(…), or the name of a model."
        )
    return one_model(env.project, model if isinstance(model, str) else model.name)


def find_deployment(env: Environment, deployment: Deployment | str) -> Deployment:
    """The deployment of the model of that name, as the environment's copy of the program declares it.

    Raises:
        NotFoundError: the program declares none.
        DeclarationError: it is neither a deployment nor a name.
    """
    if not isinstance(deployment, Deployment | str):
        raise DeclarationError(
            f"{type(deployment).__name__} is no deployment.",
            hint="Give the declaration, hr.Deployment(…), or the name of its model.",
        )
    return one_deployment(env.project, deployment if isinstance(deployment, str) else deployment.name)
