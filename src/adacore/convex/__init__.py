"""Convex problems: choose once, fit many times."""

from adacore.errors import require_extra

require_extra("sklearn", "adacore.convex", modules=["scipy"])  # which its modules import late, where they need it

from adacore.convex.pilot import Pilot, PilotWarning, pilot
from adacore.convex.preconditioning import features, measured_error, preconditioned_gradients
from adacore.convex.problems import Problem, elastic_net, logistic, multinomial, ridge, smoothed_hinge
from adacore.convex.selection import select
from adacore.convex.solvers import Trace, lbfgs, newton, optimum
from adacore.convex.stochastic import adahessian, sgd

__all__ = [
    "Pilot",
    "PilotWarning",
    "Problem",
    "Trace",
    "adahessian",
    "elastic_net",
    "features",
    "lbfgs",
    "logistic",
    "measured_error",
    "multinomial",
    "newton",
    "optimum",
    "pilot",
    "preconditioned_gradients",
    "ridge",
    "select",
    "sgd",
    "smoothed_hinge",
]
