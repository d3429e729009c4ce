"""Train a LightningModule on stratified mini-batches: weights in the batch, and one callback.

Needs: pip install "adacore[lightning,sklearn]"
"""

import logging
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import adacore
from adacore.integrations.lightning import CoresetCallback

# Lightning's hints (devices, workers, loggers) are not what this example shows.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")

images, digits = load_digits(return_X_y=True)
inputs, targets = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
train, test = TensorDataset(inputs[:1400], targets[:1400]), TensorDataset(inputs[1400:], targets[1400:])


class Classifier(lightning.LightningModule):
    """A module like any other, but that its training batches hold weights."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))

    def training_step(self, batch, batch_idx):
        """Return the weighted mean of the examples' losses."""
        inputs, targets, weights = batch
        losses = nn.functional.cross_entropy(self.model(inputs), targets, reduction="none")
        return (weights * losses).mean()

    def test_step(self, batch, batch_idx):
        """Log the share that is right; test batches are as they always were."""
        inputs, targets = batch
        self.log("accuracy", (self.model(inputs).argmax(1) == targets).float().mean())

    def configure_optimizers(self):
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


lightning.seed_everything(0, verbose=False)
module = Classifier()
# The loader runs the part of the module whose forward gives logits.
loader = adacore.CoresetLoader(train, module.model, adacore.Stratified(), fraction=0.2, every=5, batch_size=32)
trainer = lightning.Trainer(
    max_epochs=20,
    callbacks=[CoresetCallback()],  # keeps the loader's state in checkpoints, and logs what selecting costs
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, train_dataloaders=loader)
(result,) = trainer.test(module, torch.utils.data.DataLoader(test, batch_size=512), verbose=False)
print(f"{result['accuracy']:.1%} of the test digits right after 20 epochs of a fifth of the data")
print(f"reselections: {loader.reselector.reselections}; gradients: {loader.ledger.gradient_evaluations:,}")
