"""Train a vision transformer with Hugging Face's Trainer on stratified mini-batches: one class in place of another.

The images are real, and nothing is downloaded: the model is made here.
Needs: pip install "adacore[huggingface,sklearn]"
"""

import tempfile

import torch
import transformers
from sklearn.datasets import load_digits

import adacore
from adacore.integrations.huggingface import CoresetTrainer

transformers.utils.logging.set_verbosity_error()
transformers.set_seed(0)
images, digits = load_digits(return_X_y=True)


class Images(torch.utils.data.Dataset):
    """What an image processor gives: dicts of pixel_values and labels."""

    def __init__(self, rows):
        self.pixels = torch.tensor(images[rows] / 8 - 1, dtype=torch.float32).reshape(-1, 1, 8, 8)
        self.labels = torch.tensor(digits[rows])

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, i):
        return {"pixel_values": self.pixels[i], "labels": self.labels[i]}


config = transformers.ViTConfig(
    image_size=8,
    patch_size=2,
    num_channels=1,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
    hidden_dropout_prob=0.0,
    initializer_range=0.2,  # for so narrow a model; the default is made for wide ones
    num_labels=10,
)
trainer = CoresetTrainer(  # a transformers.Trainer, with three settings more
    model=transformers.ViTForImageClassification(config),
    args=transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=15,
        per_device_train_batch_size=16,
        learning_rate=5e-3,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    ),
    train_dataset=Images(slice(0, 1400)),
    eval_dataset=Images(slice(1400, None)),
    compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(1) == found.label_ids).mean()},
    selector=adacore.Stratified(),
    fraction=0.2,
    every=5,
)
trainer.remove_callback(transformers.PrinterCallback)  # its lines of figures are not what this example shows
trainer.train()
print(f"steps: {trainer.state.global_step}, of 16 examples each")
print(f"{trainer.evaluate()['eval_accuracy']:.1%} of the test digits right after 15 epochs of a fifth of the data")
