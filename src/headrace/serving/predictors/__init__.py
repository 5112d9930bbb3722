"""Tiers of prediction with a version, the fastest first; each is used only if it predicts the parity file to the last bit.

`native`: the model's library on a float64 block, one file a library; LightGBM and XGBoost by their C interface, without
their Python packages and without pandas. `frame`: an object that takes a DataFrame, which is made of the block. `generic`: as
in batch scoring, a DataFrame through `scoring.Predictor`. `pyfunc`: MLflow itself, imported for this tier only. A model with
`predict=` has one tier, `chain`, which nothing is compared with.

Not for reading requests or writing answers (`serving.codec`, `serving.protocols`): rows come in the order of the
inputs.
"""

from headrace.serving.predictors.base import Answer, BlockPredictor, Row, UnfitError
from headrace.serving.predictors.chain import ChainPredictor
from headrace.serving.predictors.choose import choose, cost
from headrace.serving.predictors.generic import Generic
from headrace.serving.predictors.native import Native
from headrace.serving.predictors.pyfunc import Pyfunc

__all__ = [
    "Answer",
    "BlockPredictor",
    "ChainPredictor",
    "Generic",
    "Native",
    "Pyfunc",
    "Row",
    "UnfitError",
    "choose",
    "cost",
]
