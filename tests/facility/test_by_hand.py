"""Facility location worked by hand: five places on a line, see docs/facility.md."""

import numpy as np

from adacore.facility import facility_location

PLACES = np.array([[0.0], [1.0], [2.0], [9.0], [10.0]])


def test_the_first_pick_is_the_medoid():
    # Sums of distances: 0 -> 0+1+2+9+10 = 22, 1 -> 1+0+1+8+9 = 19, 2 -> 2+1+0+7+8 = 18, 9 -> 25, 10 -> 28.
    coreset = facility_location(PLACES, budget=1)
    assert (coreset.indices.tolist(), coreset.objective) == ([2], 18.0)


def test_the_second_lowers_the_sum_most():
    # Distances to 2: 2, 1, 0, 7, 8. 0 would save 2, its own; 1 would save 1 + 1.
    # 9: place 9 saves 7, place 10 saves 7: 14. 10: place 10 saves 8, place 9 saves 6: 14. A tie: the lower index, 9.
    coreset = facility_location(PLACES, budget=2)
    assert coreset.indices.tolist() == [2, 3]
    assert coreset.gains[1] == 14.0
    assert coreset.objective == 2 + 1 + 0 + 0 + 1
    assert coreset.weights.tolist() == [3.0, 2.0]


def test_the_bound_and_its_certificate():
    # With 2 and 9 selected, place 0 would save 2, place 1 would save 2, place 10 would save 1: at most 2 + 2 for two
    # places, and 4 - 4 = 0: nothing is known of the best two. With three more: L = 0.
    coreset = facility_location(PLACES, budget=2)
    assert (coreset.lower_bound, coreset.certificate) == (0.0, 0.0)
    one = facility_location(PLACES, budget=1)
    # One place saves 14 at most on top of 2: no single place has L below 18 - 14 = 4.
    assert one.lower_bound <= 4.0
    assert one.certificate <= 4.0 / 18.0


def test_what_is_selected_already_serves():
    # 9 and 10 are served by 10, at distances 1 and 0; 0, 1, 2 are 10, 9, 8 away. 1 saves 9 + 9 + 7 = 25.
    coreset = facility_location(PLACES, budget=1, initial=[4])
    assert coreset.indices.tolist() == [1]
    assert coreset.gains.tolist() == [25.0]
    assert (coreset.weights.tolist(), coreset.initial_weights.tolist()) == ([3.0], [2.0])
