"""Train a network in your own loop on a tenth of the data an epoch, and compare with random subsets.

Needs: pip install "adacore[sklearn]" (for the digits; the loader itself needs torch alone)
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import adacore

images, digits = load_digits(return_X_y=True)
inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
shuffled = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
train, test = shuffled[:1400], shuffled[1400:]
dataset = TensorDataset(inputs[train], targets[train])
criterion = nn.CrossEntropyLoss(reduction="none")  # one loss for each example: the loader's weights multiply them


def train_with(selector, every, seed):
    """Train a new network on what is chosen every few epochs; return its test accuracy and the loader's ledger."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = adacore.CoresetLoader(dataset, model, selector, fraction=0.1, every=every, batch_size=32, seed=seed)
    for _ in range(30):
        for batch, labels, weights in loader:
            loss = (weights * criterion(model(batch), labels)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = model(inputs[test]).argmax(1) == targets[test]
    return right.float().mean().item(), loader.ledger


# Random draws a fresh subset for every epoch, since that costs nothing: it is the baseline to beat.
for name, selector, every in [("stratified", adacore.Stratified(), 5), ("random", adacore.Random(), 1)]:
    runs = [train_with(selector, every, seed) for seed in range(5)]
    ledger = runs[0][1]
    print(
        f"{name:10}: {sum(accuracy for accuracy, _ in runs) / 5:.1%} right, five seeds; "
        f"{ledger.fraction_seen:.0%} of the data seen; {ledger.gradient_evaluations:,} gradients, "
        f"and {ledger.probed_examples:,} examples probed"
    )
print("Is the difference more than chance? adacore compare --data digits says so, with intervals.")
