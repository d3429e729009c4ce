"""The selection engine: facility location on plain arrays, exact, without an n x n matrix."""

from adacore.facility.assignment import Assignment, assign
from adacore.facility.costs import Plan
from adacore.facility.k_center import k_center
from adacore.facility.objective import facility_objective
from adacore.facility.planning import plan
from adacore.facility.preparation import prepare_kernels
from adacore.facility.selection import facility_location

__all__ = [
    "Assignment",
    "Plan",
    "assign",
    "facility_location",
    "facility_objective",
    "k_center",
    "plan",
    "prepare_kernels",
]
