"""Write a selection method, have it checked, and use it wherever a method is asked for.

The method: within each class, the examples whose loss is nearest to the class's median loss. Neither the easiest,
which teach nothing, nor the hardest, which may be mislabelled. (A method to start from, not one that we recommend.)
Needs: pip install "adacore[sklearn]"
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import adacore
from adacore.probing.snapshot import Requirements
from adacore.selectors import Per, Traits
from adacore.selectors.invariants import check_selector


@dataclass(frozen=True)
class MedianLoss:
    """Chooses examples of middling loss."""

    name: ClassVar[str] = "median_loss"
    traits: ClassVar[Traits] = Traits(objective=False)  # what it promises, and is checked against
    per: ClassVar[Per] = "class"  # it is run within each class; it need not know of classes

    def requirements(self):
        """Say what the probe has to measure: here the loss of every example."""
        return Requirements(losses=True)

    def select(self, snapshot, budget, *, generator):
        """Return a coreset of at most ``budget`` of the snapshot's examples: a pure function of arrays."""
        if snapshot.losses is None or not 1 <= budget <= snapshot.n:
            raise ValueError(f"budget={budget} of {snapshot.n} examples, and their losses: one of these is amiss")
        far = np.abs(snapshot.losses - np.median(snapshot.losses))
        indices = np.argsort(far, kind="stable")[:budget]  # stable, so that the lower index wins a tie
        return adacore.Coreset(indices, np.full(budget, snapshot.n / budget), population=snapshot.n)


# Every method in the library goes through the same checks: no bias it does not admit, no dependence on row order, ...
failures = check_selector(MedianLoss())
print("broken promises:", failures or "none")

# It goes wherever a method is asked for.
images, digits = load_digits(return_X_y=True)
dataset = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits))
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
criterion = nn.CrossEntropyLoss(reduction="none")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loader = adacore.CoresetLoader(dataset, model, MedianLoss(), fraction=0.1, every=2, batch_size=32)
for _ in range(20):
    for inputs, targets, weights in loader:
        optimizer.zero_grad()
        (weights * criterion(model(inputs), targets)).mean().backward()
        optimizer.step()
print(f"{len(loader.coreset)} of {len(dataset):,} digits at a time, {loader.ledger.fraction_seen:.0%} seen in all")
