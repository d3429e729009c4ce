import pytest
import torch
from torch.nn import functional

import adacore

transformers = pytest.importorskip("transformers")
from adacore.integrations.huggingface import WEIGHT_KEY, CoresetTrainer, example_losses  # noqa: E402


class Texts(torch.utils.data.Dataset):
    """Sequences of ten tokens whose class is that of their first token."""

    def __init__(self, n=48):
        draws = torch.Generator().manual_seed(0)
        self.labels = torch.arange(n) % 3
        self.ids = torch.randint(3, 30, (n, 10), generator=draws)
        self.ids[:, 0] = self.labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {
            "input_ids": self.ids[index],
            "attention_mask": torch.ones(10, dtype=torch.int64),
            "labels": self.labels[index],
            "unused": 7,
        }


def tiny_bert(seed=0):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def trainer_in(folder, selector=None, model=None, **settings):
    arguments = {
        "output_dir": str(folder), "num_train_epochs": 3, "per_device_train_batch_size": 4, "report_to": [],
        "save_strategy": "no", "logging_steps": 1, "learning_rate": 1e-2, "disable_tqdm": True, "use_cpu": True,
    }  # fmt: skip
    arguments.update(settings.pop("arguments", {}))
    return CoresetTrainer(
        model=model or tiny_bert(),
        args=transformers.TrainingArguments(**arguments),
        train_dataset=settings.pop("train_dataset", None) or Texts(),
        selector=selector or adacore.AdaCore(),
        fraction=0.25,
        **settings,
    )


def record_inputs(trainer):
    """Record what reaches the model's forward in training, and the weights beside it."""
    seen = []
    compute = trainer.compute_loss

    def recording(model, inputs, *args, **kwargs):
        seen.append((inputs["input_ids"].clone(), inputs[WEIGHT_KEY].clone()))
        return compute(model, inputs, *args, **kwargs)

    trainer.compute_loss = recording
    return seen


@pytest.mark.filterwarnings("error:.*takes any keyword")
@pytest.mark.parametrize("workers", [0, 1])
def test_it_trains_on_the_batches_and_weights_of_the_plain_loop(tmp_path, workers):
    trainer = trainer_in(tmp_path, every=5, arguments={"dataloader_num_workers": workers})
    seen = record_inputs(trainer)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    model = tiny_bert()
    model.load_state_dict(before)
    loader = adacore.CoresetLoader(
        Texts(), model, adacore.AdaCore(), fraction=0.25, every=5, batch_size=4, seed=42, weight_key=WEIGHT_KEY
    )
    loader.dataset.swallowed_by = None
    expected = [(batch["input_ids"], batch[WEIGHT_KEY]) for _ in range(3) for batch in loader]
    assert len(seen) == len(expected) == 9
    for (ids, weights), (plain_ids, plain_weights) in zip(seen, expected, strict=True):
        assert torch.equal(ids, plain_ids)
        assert torch.equal(weights, plain_weights)


def test_the_loss_falls_and_the_ledger_is_logged(tmp_path):
    trainer = trainer_in(tmp_path, arguments={"num_train_epochs": 12})
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert logged[-1]["coreset_fraction_seen"] >= 0.25
    assert logged[-1]["coreset_selecting_seconds"] > 0


def test_accumulated_micro_batches_step_as_one_batch(tmp_path):
    results = []
    for size, steps in ((6, 1), (2, 3)):
        arguments = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_steps": 4,
                     "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}  # fmt: skip
        trainer = trainer_in(tmp_path / str(size), every=9, arguments=arguments)
        trainer.train()
        results.append(torch.cat([parameter.flatten() for parameter in trainer.model.parameters()]))
    assert torch.allclose(*results, atol=1e-6)


@pytest.mark.parametrize("stop", [1, 3, 4, 6, 8])
def test_a_run_resumed_from_any_checkpoint_ends_as_the_undisturbed_one(tmp_path, stop):
    arguments = {"save_strategy": "steps", "save_steps": 1}
    whole = trainer_in(tmp_path / "whole", every=2, arguments=arguments)
    whole.train()
    resumed = trainer_in(tmp_path / "whole", every=2, model=tiny_bert(seed=5), arguments=arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
    for (name, expected), (_, got) in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().items(), strict=True
    ):
        assert torch.equal(expected, got), name


def test_evaluation_has_no_weights(tmp_path):
    trainer = trainer_in(tmp_path, eval_dataset=Texts(12))
    assert "eval_loss" in trainer.evaluate()


@pytest.mark.parametrize("shift", [False, True])
def test_a_sequence_counts_by_the_mean_over_its_own_tokens(shift):
    logits, labels = torch.randn(3, 6, 5), torch.randint(5, (3, 6))
    labels[0, 2:] = -100
    losses = example_losses(logits, labels, shift=shift)
    for i in range(3):
        got, wanted = (logits[i, :-1], labels[i, 1:]) if shift else (logits[i], labels[i])
        assert torch.allclose(losses[i], functional.cross_entropy(got, wanted))


def test_a_sequence_without_a_token_that_counts_has_no_loss():
    assert example_losses(torch.randn(1, 3, 5), torch.full((1, 3), -100)).tolist() == [0.0]


def test_regression_and_several_labels_are_those_of_transformers():
    logits, numbers = torch.randn(4, 1), torch.randn(4)
    assert torch.allclose(example_losses(logits, numbers).mean(), functional.mse_loss(logits.squeeze(), numbers))
    logits, several = torch.randn(4, 3), torch.randint(2, (4, 3)).float()
    expected = functional.binary_cross_entropy_with_logits(logits, several)
    assert torch.allclose(example_losses(logits, several).mean(), expected)


def test_label_smoothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor"):
        trainer_in(tmp_path, arguments={"label_smoothing_factor": 0.1})


def test_a_checkpoint_of_another_trainer_is_refused(tmp_path):
    plain = transformers.Trainer(
        model=tiny_bert(),
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=1, save_steps=1, report_to=[], disable_tqdm=True, use_cpu=True
        ),
        train_dataset=Texts(),
    )
    plain.train()
    with pytest.raises(ValueError, match="not a CoresetTrainer's"):
        trainer_in(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


def test_compute_loss_func_is_refused(tmp_path):
    with pytest.raises(ValueError, match="compute_loss_func"):
        trainer_in(tmp_path, compute_loss_func=lambda outputs, labels, num_items_in_batch: outputs.logits.sum())


def test_streams_are_refused(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(Texts(8))

    with pytest.raises(TypeError, match=r"IterableDataset|map-style"):
        trainer_in(tmp_path, train_dataset=Stream(), arguments={"max_steps": 2}).train()


def test_every_counts_epochs(tmp_path):
    trainer = trainer_in(tmp_path, every=2, arguments={"num_train_epochs": 5})
    trainer.train()
    assert trainer.coreset_loader.reselector.reselections == 3


def test_training_in_bfloat16_learns(tmp_path):
    trainer = trainer_in(tmp_path, arguments={"num_train_epochs": 12, "bf16": True})
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged[-1] < logged[0]


class Lines(torch.utils.data.Dataset):
    """Padded lines of 4 to 11 tokens, each token the successor of the one before."""

    def __init__(self, n=40):
        lengths = torch.arange(n) % 8 + 4
        self.mask = (torch.arange(12) < lengths[:, None]).long()
        self.ids = (torch.arange(n)[:, None] * 7 + torch.arange(12)) % 40 * self.mask

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        ids, mask = self.ids[index], self.mask[index]
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.where(mask > 0, ids, -100)}


def tiny_gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=40, n_positions=12, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


@pytest.mark.parametrize(
    "selector",
    [adacore.AdaCore(), adacore.AdaCore(proxy="last_layer"), adacore.AdaCore(proxy="penultimate"), adacore.CRAIG(),
     adacore.GradMatch(), adacore.Random(), adacore.Stratified()],
    ids=lambda selector: type(selector).__name__,
)  # fmt: skip
def test_causal_language_models_train_on_selected_sequences(tmp_path, selector):
    arguments = {"num_train_epochs": 4}
    trainer = trainer_in(
        tmp_path, model=tiny_gpt2(), train_dataset=Lines(), selector=selector, every=2, arguments=arguments
    )
    before = trainer.evaluate(Lines())["eval_loss"]
    trainer.train()
    assert trainer.evaluate(Lines())["eval_loss"] < before
    if trainer.coreset_loader.coreset is not None:
        assert 5 <= len(trainer.coreset_loader.coreset) <= 10


def test_a_step_of_a_causal_model_is_the_weighted_mean_of_the_sequences_own_losses(tmp_path):
    trainer = trainer_in(tmp_path, model=tiny_gpt2(), train_dataset=Lines())
    batch = torch.utils.data.default_collate([Lines()[i] for i in range(4)])
    weights = torch.tensor([0.5, 2.0, 1.0, 0.25])
    got = trainer.compute_loss(trainer.model, {**batch, WEIGHT_KEY: weights})
    own = [trainer.model(**{key: value[i : i + 1] for key, value in batch.items()}).loss for i in range(4)]
    assert torch.allclose(got, (weights * torch.stack(own)).mean(), atol=1e-6)
