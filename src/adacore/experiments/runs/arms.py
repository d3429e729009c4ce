"""Arms of a comparison: a selection method, and the few settings of training that may differ from arm to arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adacore.selectors import Selector
from adacore.selectors.naming import parse_name
from adacore.selectors.registry import make_selector

OF_AN_ARM = ("batches", "every", "learning_rate")
"""Settings of training that a method may carry: each arm is then tuned as hard as the rest."""


@dataclass(frozen=True)
class Arm:
    """What is trained under one name.

    Attributes:
        selector: The selection method.
        settings: Settings of training that replace those of the comparison.
        kept: Whether a random subset is kept for R epochs, the comparison's R, as the paper's is.
    """

    selector: Selector
    settings: dict[str, Any]
    kept: bool = False

    def every(self, every: Any, epochs: int) -> Any:
        """Decide R for this arm.

        A random subset costs nothing to draw: kept for R epochs it would be a weaker control than anyone would use, so
        it is drawn anew for every epoch unless the arm says otherwise. Full data need no second selection.

        Args:
            every: R of the comparison.
            epochs: Length of the training.
        """
        if "every" in self.settings:
            return self.settings["every"]
        if self.selector.traits.ignores_budget:
            return epochs
        return 1 if self.selector.name == "random" and not self.kept else every


def parse_arm(text: str) -> Arm:
    """Make an arm from what a person writes.

    Args:
        text: As ``adacore.selectors.parse_selector`` takes it; among the settings may be ``batches``, ``every`` and
            ``learning_rate``. ``every=R`` is the comparison's own R, whatever it is.

    Returns:
        The arm.

    Raises:
        ValueError: If a name or a setting is unknown.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> arm = parse_arm("adacore(weighting=uniform, learning_rate=0.2)")
        >>> arm.selector.weighting, arm.settings
        ('uniform', {'learning_rate': 0.2})
        >>> [parse_arm(text).every(20, 200) for text in ("random", "random(every=R)", "random(every=5)", "craig")]
        [1, 20, 5, 20]
    """
    name, settings = parse_name(text)
    # What is of training is taken out first: the selector would refuse it as unknown.
    own = {key: settings.pop(key) for key in OF_AN_ARM if key in settings}
    # As a letter: a set-up that is run with another R, as at a smaller scale, keeps its arms' names.
    kept = own.get("every") == "R"
    if kept:
        del own["every"]
    return Arm(make_selector(name, **settings), own, kept)
