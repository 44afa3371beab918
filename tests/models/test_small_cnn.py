"""The small network: shapes, gradients, and that it can learn at all."""

from __future__ import annotations

import pytest
import torch

from chirpid.models.small_cnn import MeanMaxPool, SmallCNN, count_parameters


@pytest.mark.parametrize(("bands", "frames"), [(8, 8), (24, 63), (64, 501), (128, 33)])
def test_any_size_of_spectrogram_gives_logits(bands: int, frames: int) -> None:
    logits = SmallCNN(7, width=8)(torch.randn(3, 1, bands, frames))
    assert logits.shape == (3, 7)
    assert torch.isfinite(logits).all()


def test_every_weight_gets_a_gradient() -> None:
    network = SmallCNN(5, width=8)
    network(torch.randn(4, 1, 32, 40)).square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().sum()) > 0, name


def test_rows_do_not_mix_and_dropout_is_off_in_evaluation() -> None:
    network = SmallCNN(5, width=8).eval()
    batch = torch.randn(6, 1, 32, 40)
    assert torch.allclose(network(batch)[2:3], network(batch[2:3]), atol=1e-5)
    assert torch.equal(network(batch), network(batch))


def test_the_input_and_its_layout_are_left_alone() -> None:
    batch = torch.randn(2, 1, 32, 40)
    before = batch.clone()
    SmallCNN(3, width=8)(batch)
    assert torch.equal(batch, before)


def test_it_learns_to_tell_bands_apart() -> None:
    torch.manual_seed(0)
    labels = torch.arange(32) % 4
    batch = torch.randn(32, 1, 32, 24) * 0.5
    for row, label in enumerate(labels.tolist()):
        batch[row, 0, 8 * label : 8 * label + 3, 5:15] += 3
    network = SmallCNN(4, width=8, dropout=0.0)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(15):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(batch), labels)
        loss.backward()
        optimiser.step()
    assert float((network.eval()(batch).argmax(dim=1) == labels).float().mean()) > 0.9


def test_pooling_is_the_mean_over_bands_then_mean_plus_maximum_over_time() -> None:
    x = torch.arange(24, dtype=torch.float32).view(1, 2, 3, 4)
    by_time = x.mean(dim=2)
    assert torch.equal(MeanMaxPool()(x), by_time.mean(dim=2) + by_time.amax(dim=2))


def test_width_and_classes_set_the_size() -> None:
    assert count_parameters(SmallCNN(10, width=32)) < 400_000
    small, large = SmallCNN(10, width=8), SmallCNN(11, width=8)
    assert count_parameters(large) - count_parameters(small) == 4 * 8 + 1
