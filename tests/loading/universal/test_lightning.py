"""Lightning's own Trainer, with our module: what it trains on, and where it goes on."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

pl = pytest.importorskip("lightning.pytorch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",  # of their loaders
    "ignore:.*callbacks used to create the checkpoint",  # a fit that resumes saves nothing
    "ignore:.*LeafSpec",  # Lightning 2.6 uses what torch 2.14 deprecates
)

from chirpid.loading.universal.easy import make_loader  # noqa: E402
from chirpid.loading.universal.module import DataModule, UniversalDataModule  # noqa: E402
from tests.pages import ROOT, blocks_of  # noqa: E402

NUM = 26
INPUT_N3 = torch.randn(NUM, 3, generator=torch.Generator().manual_seed(0))
TARGET_N = INPUT_N3 @ torch.tensor([1.0, -2.0, 0.5])
ROWS = TensorDataset(INPUT_N3, TARGET_N, torch.arange(NUM))


class Stream(IterableDataset[Any]):
    """The same samples, one after another."""

    def __iter__(self) -> Iterator[Any]:
        return iter(ROWS)


class Net(pl.LightningModule):  # type: ignore[misc, name-defined]
    """A linear model that notes which samples it saw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(3, 1)
        self.trained: list[list[int]] = []
        self.validated: list[list[int]] = []
        self.sets: set[int] = set()
        self.losses: list[float] = []

    def loss(self, batch: list[Tensor]) -> Tensor:
        return (self.linear(batch[0])[:, 0] - batch[1]).pow(2).mean()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.trained.append(batch[2].tolist())
        loss = self.loss(batch)
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self.sets.add(dataloader_idx)
        self.validated.append(batch[2].tolist())
        self.log("loss", self.loss(batch))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def trainer(place: Path, max_epochs: int = 3, **settings: Any) -> Any:
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=place, max_epochs=max_epochs, enable_checkpointing="callbacks" in settings,
        **settings,
    )  # fmt: skip


def rows_module(**settings: Any) -> UniversalDataModule:
    return UniversalDataModule(ROWS, **{"batch_size": 4, "seed": 1, **settings})


def stream_module() -> UniversalDataModule:
    return UniversalDataModule(Stream(), val_take=6, batch_size=4, seed=1, window=8)


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def test_the_trainer_fits_with_a_module_that_is_no_class_of_its_own(tmp_path: Path) -> None:
    module, net = rows_module(), Net()
    assert not issubclass(UniversalDataModule, pl.LightningDataModule)
    trainer(tmp_path, 2, num_sanity_val_steps=0).fit(net, datamodule=module)
    assert module.split is not None
    epochs = net.trained[:6], net.trained[6:]
    for epoch in epochs:
        assert sorted(flat(epoch)) == module.split.train_N.tolist()
    assert epochs[0] != epochs[1]
    assert flat(net.validated) == 2 * module.split.val_N.tolist()
    assert sum(net.losses[6:]) < sum(net.losses[:6])


def test_a_second_fit_trains_on_the_same_batches_whatever_was_done_before(tmp_path: Path) -> None:
    module, first, second = rows_module(), Net(), Net()
    next(iter(module.train_dataloader()))
    trainer(tmp_path).fit(first, module)
    next(iter(module.train_dataloader()))
    trainer(tmp_path).fit(second, module)
    assert second.trained == first.trained


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (rows_module, {}),
        (rows_module, {"limit_train_batches": 2}),
        (rows_module, {"reload_dataloaders_every_n_epochs": 1}),
        (stream_module, {}),
        (stream_module, {"limit_train_batches": 2}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_resumed_fit_is_the_fit_that_never_stopped(
    tmp_path: Path, make: Any, settings: dict[str, Any]
) -> None:
    """From the checkpoint of every step, and from those after validation and after an epoch."""
    whole = Net()
    trainer(tmp_path, 2, **settings).fit(whole, make())
    for name, when in (
        ("step", {"every_n_train_steps": 1}),
        ("validation", {"every_n_epochs": 1, "save_on_train_epoch_end": False}),
        ("epoch", {"every_n_epochs": 1, "save_on_train_epoch_end": True}),
    ):
        saving = pl.callbacks.ModelCheckpoint(
            dirpath=tmp_path / name, save_top_k=-1, filename="{step}", **when
        )
        trainer(tmp_path, 2, callbacks=[saving], **settings).fit(Net(), make())
    found = sorted(tmp_path.rglob("*.ckpt"))
    assert len(found) == len(whole.trained) + 4
    for path in found:
        again, num_done = Net(), int(path.stem.split("step=")[1])
        trainer(tmp_path, 2, **settings).fit(again, make(), ckpt_path=path, weights_only=True)
        assert again.trained == whole.trained[num_done:], path
        assert torch.equal(again.linear.weight, whole.linear.weight), path


def test_a_checkpoint_of_another_split_is_refused(tmp_path: Path) -> None:
    done, path = trainer(tmp_path, 1), tmp_path / "last.ckpt"
    done.fit(Net(), rows_module())
    done.save_checkpoint(path)
    with pytest.raises(ValueError, match="could be validated"):
        trainer(tmp_path).fit(
            Net(), rows_module(val_fraction=0.5), ckpt_path=tmp_path / "last.ckpt"
        )


def test_a_step_that_failed_is_done_again(tmp_path: Path) -> None:
    class Failing(Net):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            if len(self.trained) == 4:
                raise RuntimeError("power cut")
            return super().training_step(batch, batch_idx)

    whole, again, failing = Net(), Net(), trainer(tmp_path)
    trainer(tmp_path).fit(whole, rows_module())
    module = rows_module()
    with pytest.raises(RuntimeError, match="power cut"):
        failing.fit(Failing(), module)
    failing.save_checkpoint(tmp_path / "cut.ckpt")
    trainer(tmp_path).fit(again, rows_module(), ckpt_path=tmp_path / "cut.ckpt")
    assert again.trained == whole.trained[4:]


def test_several_sets_are_validated_in_turn(tmp_path: Path) -> None:
    parts = [TensorDataset(*(t[a:b] for t in ROWS.tensors)) for a, b in ((0, 5), (5, 12))]
    module, net = rows_module(val=parts), Net()
    trainer(tmp_path, 1, num_sanity_val_steps=0).fit(net, module)
    assert net.sets == {0, 1}
    assert flat(net.validated) == list(range(12))


def test_it_validates_and_tests_alone(tmp_path: Path) -> None:
    module, net = rows_module(test=ROWS), Net()
    assert trainer(tmp_path).validate(net, module, verbose=False)
    assert module.split is not None
    assert flat(net.validated) == module.split.val_N.tolist()
    net.validated.clear()
    trainer(tmp_path).test(net, datamodule=module, verbose=False)
    assert flat(net.validated) == list(range(NUM))


@pytest.mark.filterwarnings("ignore:Total length of `list`")  # the model could validate
def test_nothing_to_validate_is_no_error(tmp_path: Path) -> None:
    net = Net()
    trainer(tmp_path, 1).fit(net, rows_module(val_fraction=0))
    assert sorted(flat(net.trained)) == list(range(NUM))
    assert not net.validated


@pytest.mark.filterwarnings("ignore:.*turning off the .* dataloader shuffling")
def test_overfitting_sees_the_same_batches_in_each_epoch(tmp_path: Path) -> None:
    net = Net()
    trainer(tmp_path, 2, overfit_batches=2).fit(net, rows_module())
    assert net.trained[:2] == net.trained[2:]


def test_a_module_made_before_lightning_was_imported_counts_too() -> None:
    from chirpid.loading.universal import lightning_class

    module = rows_module()
    assert isinstance(module, pl.LightningDataModule)
    assert isinstance(module, UniversalDataModule)
    assert module.__class__.__qualname__ == "UniversalDataModule"
    assert lightning_class._with_lightning(UniversalDataModule, ()) is UniversalDataModule


def test_a_module_survives_pickling_for_processes_that_are_spawned() -> None:
    module = rows_module()
    batches = module.train_dataloader()
    first = next(iter(batches))
    again = pickle.loads(pickle.dumps(module))
    assert again.state_dict() == module.state_dict()
    assert isinstance(again, UniversalDataModule)
    again = pickle.loads(pickle.dumps(rows_module()))
    assert torch.equal(next(iter(again.train_dataloader()))[2], first[2])


class Theirs(pl.LightningDataModule):  # type: ignore[misc, name-defined]
    """A module as users of Lightning have one."""

    def setup(self, stage: str | None = None) -> None:
        self.rows = ROWS

    def train_dataloader(self) -> Any:
        return DataLoader(self.rows, batch_size=4, shuffle=True)

    def val_dataloader(self) -> Any:
        return [DataLoader(self.rows, batch_size=5), DataLoader(self.rows, batch_size=7)]

    def state_dict(self) -> dict[str, Any]:
        return {"mine": 3}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0], batch[1], batch[2] + 100]


def test_a_module_of_lightning_is_taken_over(tmp_path: Path) -> None:
    theirs = Theirs()
    assert isinstance(theirs, DataModule)
    whole, ours, plain = Net(), Net(), Net()
    adopted = UniversalDataModule.of(theirs, seed=3)
    trainer(tmp_path, 2).fit(whole, adopted)
    trainer(tmp_path, 2).fit(plain, theirs)
    assert sorted(flat(whole.trained)) == sorted(flat(plain.trained))
    assert whole.validated == plain.validated
    assert min(flat(whole.trained)) == 100
    saving = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, save_top_k=-1, every_n_train_steps=5)
    trainer(tmp_path, 1, callbacks=[saving]).fit(Net(), UniversalDataModule.of(Theirs(), seed=3))
    (path,) = tmp_path.glob("*.ckpt")
    trainer(tmp_path, 2).fit(ours, UniversalDataModule.of(Theirs(), seed=3), ckpt_path=path)
    assert ours.trained == whole.trained[5:]
    assert torch.load(path, weights_only=True)["AdoptedDataModule"]["module"] == {"mine": 3}


def test_the_script_of_the_page_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "data-module.md"
    (block,) = [block for block in blocks_of(page) if block.file == "fit.py"]
    names: dict[str, Any] = {"__name__": "fit"}
    exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
    assert names["trainer"].global_step == 2 * 25


def test_the_trainer_takes_loaders_of_one_line(tmp_path: Path) -> None:
    net, other = Net(), Net()
    train, val = make_loader(ROWS, 4, seed=1), make_loader(ROWS, 8, shuffle=False)
    trainer(tmp_path, 2).fit(net, train, val_dataloaders=val)
    epochs = [list(make_loader(ROWS, 4, seed=1))]
    assert net.trained[:7] == [batch[2].tolist() for batch in epochs[0]]
    assert sorted(flat(net.trained[7:])) == list(range(NUM))
    assert net.trained[:7] != net.trained[7:]
    again = make_loader(ROWS, 4, seed=1)
    trainer(tmp_path, 1, limit_train_batches=2).fit(other, again, val_dataloaders=val)
    assert other.trained == net.trained[:2]
