"""The residual network learns, takes any size, and judges each segment on its own."""

from __future__ import annotations

import pytest
import torch

from chirpid.models.resnet import ResNet
from chirpid.models.small_cnn import count_parameters


@pytest.mark.parametrize("shape", [(2, 1, 64, 313), (3, 1, 24, 63), (1, 1, 128, 40)])
def test_it_takes_spectrograms_of_any_size(shape: tuple[int, ...]) -> None:
    model = ResNet(7, width=4).eval()
    assert model(torch.randn(shape)).shape == (shape[0], 7)


def test_every_weight_has_a_gradient() -> None:
    model = ResNet(3, width=4)
    model(torch.randn(4, 1, 32, 50)).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_a_segment_is_judged_without_its_neighbours() -> None:
    model = ResNet(3, width=4).eval()
    batch = torch.randn(5, 1, 32, 50)
    with torch.inference_mode():
        whole, alone = model(batch), model(batch[2:3])
    assert torch.allclose(whole[2], alone[0], atol=1e-5)


def test_its_size_at_width_32_is_the_documented_one() -> None:
    assert round(count_parameters(ResNet(13)) / 1e6, 1) == 2.8


def test_it_tells_a_low_tone_from_a_high_one() -> None:
    torch.manual_seed(0)
    model = ResNet(2, width=4, dropout=0.0)
    label = torch.arange(16) % 2
    spec = torch.randn(16, 1, 32, 40)
    spec[label == 0, :, 4:7] += 3
    spec[label == 1, :, 24:27] += 3
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(25):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(spec), label).backward()
        optimiser.step()
    model.eval()
    assert (model(spec).argmax(dim=1) == label).all()
