"""Waveform to spectrogram: log-mel and PCEN, as a module that ships inside the trained model.

B batch, T samples, M mel bands, F frames
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
import torchaudio
from torch import Tensor, nn

from chirpid import native
from chirpid.audio.mel import BandedMel, mel_power
from chirpid.native import logmel
from chirpid.native.logmel import MelPlan

MIN_POWER = 1e-10
MOST_TOP_DB = 100.0
"""The floor that `MIN_POWER` sets, whatever `top_db` is."""
BLOCK_FRAMES = 2048
"""PCEN smooths at most this many frames in one product."""


class _Engine(NamedTuple):
    """What transforms clips on a CPU, with the buffers that it was made of."""

    engine: MelPlan | BandedMel
    window_N: Tensor
    mel_MK: Tensor
    changes: tuple[int, int]

    @classmethod
    def of(cls, engine: MelPlan | BandedMel, window_N: Tensor, mel_MK: Tensor) -> _Engine:
        return cls(engine, window_N, mel_MK, (_num_changes(window_N), _num_changes(mel_MK)))

    def is_of(self, window_N: Tensor, mel_MK: Tensor) -> bool:
        same = self.window_N is window_N and self.mel_MK is mel_MK
        return same and self.changes == (_num_changes(window_N), _num_changes(mel_MK))


class FrontEnd(nn.Module):
    """Turn float32 waveforms [B, T] in [-1, 1] into spectrograms [B, M, F], F = 1 + T // hop.

    Log-mel values are in dB re full scale (a full-scale sine reads 0 dB in its band), floored at
    `-top_db`. PCEN values are positive numbers without unit.

    On a CPU, and where nobody asks for the waveform's gradient, clips are transformed one after
    the other, by the native library where it is there: the bits of a clip then depend on its
    samples alone. Elsewhere torch transforms the batch; the last bits differ.

    Raises:
        ValueError: the waveform is shorter than one analysis window.
    Source: HTK mel scale (O'Shaughnessy, 1987); PCEN of Wang et al. (2017), arXiv:1607.05666, with
        the bioacoustic settings of Lostanlen et al. (2019), doi:10.1109/LSP.2018.2878620.
    """

    def __init__(
        self,
        *,
        kind: str,
        sample_rate_hz: int,
        fft_samples: int,
        hop_samples: int,
        num_mels: int,
        fmin_hz: float,
        fmax_hz: float,
        top_db: float = 100.0,
        pcen_time_constant_s: float = 0.4,
        pcen_gain: float = 0.98,
        pcen_bias: float = 2.0,
        pcen_power: float = 0.5,
        pcen_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.sample_rate_hz = sample_rate_hz
        self.fft_samples = fft_samples
        self.hop_samples = hop_samples
        self.num_mels = num_mels
        self.top_db = top_db
        self.pcen_gain, self.pcen_bias = pcen_gain, pcen_bias
        self.pcen_power, self.pcen_eps = pcen_power, pcen_eps
        # Smoothing per frame for the wanted time constant (librosa's formula).
        frames = pcen_time_constant_s * sample_rate_hz / hop_samples
        self.pcen_smooth = ((1 + 4 * frames**2) ** 0.5 - 1) / (2 * frames**2)
        window = torch.hann_window(fft_samples)
        # With this scale a full-scale sine has power 1 in its bin.
        self.register_buffer("window", window * (2 / window.sum()))
        self.register_buffer(
            "mel_MK",
            torchaudio.functional.melscale_fbanks(
                fft_samples // 2 + 1, fmin_hz, fmax_hz, num_mels, sample_rate_hz
            ).T.contiguous(),
        )
        self._decay_FF: Tensor | None = None
        self._engine_of: _Engine | None = None

    @property
    def implementation(self) -> str:
        """What runs on a CPU: "torch" or "native-1"; the number is that of the last bits."""
        return logmel.VERSION if self._native_fits() else "torch"

    @property
    def implementation_reason(self) -> str:
        """Why it is this one, in a few words."""
        if native.handle() is None or self._native_fits():
            return native.describe()
        sizes = f"{logmel.MIN_FFT} to {logmel.MAX_FFT}"
        return f"torch (fft_samples={self.fft_samples} is not a power of two from {sizes})"

    def _native_fits(self) -> bool:
        return native.handle() is not None and logmel.supports(self.fft_samples)

    def num_frames(self, num_samples: int) -> int:
        """Return the frames of a waveform of `num_samples`."""
        return 1 + num_samples // self.hop_samples

    @property
    def floor_db(self) -> float | None:
        """The value of digital silence; None for PCEN, which has no lowest value of its own."""
        return -min(self.top_db, MOST_TOP_DB) if self.kind == "logmel" else None

    @property
    def ceiling_db(self) -> float | None:
        """A value that no waveform in [-1, 1] exceeds, to 0.1 dB; None for PCEN.

        A full-scale sine reads 0 dB, but other waves hold more: by Parseval's theorem the powers
        of all bins of a frame sum to at most N * sum(w**2), reached by any wave that is at full
        scale in every sample, such as a square wave. With a Hann window scaled to sum to 2 that
        is 4 times its noise bandwidth of 1.5 bins. Half of it lies at positive frequencies, and a
        band takes at most its highest weight of that, however wide it is: 3, or 4.8 dB.
        """
        if self.kind != "logmel":
            return None
        weight_MK = cast(Tensor, self.mel_MK).double() / 2
        weight_MK[:, 0] *= 2  # zero frequency and the highest have no twin at negative ones
        if self.fft_samples % 2 == 0:
            weight_MK[:, -1] *= 2
        energy = self.fft_samples * float(cast(Tensor, self.window).double().square().sum())
        return math.ceil(100 * math.log10(energy * float(weight_MK.max()))) / 10

    def mel_hz(self) -> Tensor:
        """Return the centre frequency of each band, float32 [M]: where its filter peaks."""
        bin_hz = self.sample_rate_hz / self.fft_samples
        return cast(Tensor, self.mel_MK).argmax(dim=1).float() * bin_hz

    def noise_power(self) -> Tensor:
        """Return the power of each band for white noise of variance 1, float32 [M]."""
        bins_M = cast(Tensor, self.mel_MK).sum(dim=1)
        return cast(Tensor, self.window).square().sum() * bins_M

    def forward(self, wave_BT: Tensor) -> Tensor:
        # The quiet bands are far below what half precision holds: never in autocast.
        with torch.autocast(wave_BT.device.type, enabled=False):
            return self._spectrogram(wave_BT.float())

    def _spectrogram(self, wave_BT: Tensor) -> Tensor:
        self._refuse_short(wave_BT)
        window_N, mel_MK = cast(Tensor, self.window), cast(Tensor, self.mel_MK)
        if has_numbers(wave_BT) and window_N.device.type == "cpu":
            return self._clip_by_clip(wave_BT)
        power_BMF = mel_power(wave_BT, window_N, mel_MK, self.hop_samples)
        if self.kind == "pcen":
            return self._pcen(power_BMF)
        spec_BMF = 10 * torch.log10(power_BMF.clamp_min(MIN_POWER))
        return spec_BMF.clamp_min(-self.top_db)

    def _clip_by_clip(self, wave_BT: Tensor) -> Tensor:
        waves_BT = wave_BT.detach().contiguous().view(-1, wave_BT.shape[-1])
        num_clips, num_samples = waves_BT.shape
        out_BMF = torch.empty(num_clips, self.num_mels, self.num_frames(num_samples))
        self._write(waves_BT, out_BMF, num_threads=torch.get_num_threads())
        return out_BMF.view(*wave_BT.shape[:-1], *out_BMF.shape[1:])

    def into(self, wave_T: Tensor, out_MF: Tensor) -> None:
        """Write the spectrogram of one waveform over `out_MF`, with the bits of a call.

        For loaders: takes no memory but its own, and no thread but the one that calls.

        Args:
            wave_T: float32 on the CPU, contiguous.
            out_MF: float32 on the CPU, contiguous.
        Raises:
            ValueError: the waveform is shorter than one analysis window.
        """
        self._refuse_short(wave_T)
        if self.kind == "logmel" and self._native_fits():
            self._write(wave_T[None], out_MF[None], num_threads=1)
        else:
            with torch.autocast("cpu", enabled=False):
                self._write(wave_T[None], out_MF[None], num_threads=1)

    def native_plan(self) -> MelPlan | None:
        """Return what makes the values of `into` by itself; None where torch has a part in it."""
        engine = self._engine() if self.kind == "logmel" else None
        return engine if isinstance(engine, MelPlan) else None

    def _refuse_short(self, wave_BT: Tensor) -> None:
        if wave_BT.shape[-1] < self.fft_samples:
            raise ValueError(
                f"{wave_BT.shape[-1]} samples are fewer than one window of {self.fft_samples}."
            )

    def _write(self, waves_BT: Tensor, out_BMF: Tensor, *, num_threads: int) -> None:
        num_clips, num_samples = waves_BT.shape
        engine = self._engine()
        if isinstance(engine, MelPlan):
            engine.run(
                waves_BT.data_ptr(), out_BMF.data_ptr(), num_clips=num_clips,
                num_samples=num_samples, num_threads=num_threads,
            )  # fmt: skip
        else:
            for wave_T, out_MF in zip(waves_BT, out_BMF, strict=True):
                engine.write(wave_T, out_MF)
            if self.kind == "logmel":
                out_BMF.clamp_min_(MIN_POWER).log10_().mul_(10).clamp_min_(-self.top_db)
        if self.kind == "pcen":
            for number in range(num_clips):
                out_BMF[number] = self._pcen(out_BMF[number])

    def _engine(self) -> MelPlan | BandedMel:
        """Return what transforms clips on a CPU, made anew when a saved state was loaded."""
        window_N, mel_MK = cast(Tensor, self.window), cast(Tensor, self.mel_MK)
        if self._engine_of is not None and self._engine_of.is_of(window_N, mel_MK):
            return self._engine_of.engine
        engine: MelPlan | BandedMel
        if self._native_fits():
            engine = MelPlan(
                window_N.detach().numpy(),
                mel_MK.detach().numpy(),
                hop_samples=self.hop_samples,
                min_power=MIN_POWER if self.kind == "logmel" else None,
                floor_db=-self.top_db,
            )
        else:
            engine = BandedMel(window_N, mel_MK, self.hop_samples)
        self._engine_of = _Engine.of(engine, window_N, mel_MK)
        return engine

    def _pcen(self, power_BMF: Tensor) -> Tensor:
        # The scale of 32-bit integers, which the published settings assume.
        energy_BMF = power_BMF * 2.0**31
        smooth_BMF = self._smooth(energy_BMF)
        gain_BMF = torch.exp(-self.pcen_gain * torch.log(self.pcen_eps + smooth_BMF))
        out_BMF = (energy_BMF * gain_BMF + self.pcen_bias) ** self.pcen_power
        centred: Tensor = out_BMF - self.pcen_bias**self.pcen_power
        return centred

    def _smooth(self, energy_BMF: Tensor) -> Tensor:
        """Return the first-order smoother along time, started at the first frame.

        A product with a triangle is exact, runs on a GPU, and needs no loop over frames; blocks
        keep the triangle small however long the recording.
        """
        blocks: list[Tensor] = []
        for begin in range(0, energy_BMF.shape[-1], BLOCK_FRAMES):
            block = energy_BMF[..., begin : begin + BLOCK_FRAMES]
            if blocks:  # from the last smoothed frame on, which itself is already there
                block = torch.cat([blocks[-1][..., -1:], block], dim=-1)
            smooth = block @ self._decay(block.shape[-1], block)
            blocks.append(smooth[..., 1:] if blocks else smooth)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)

    def _decay(self, num_frames: int, like: Tensor) -> Tensor:
        """Return [F, F] so that `x @ decay` is the first-order smoother started at x[0]."""
        decay = self._decay_FF
        if decay is None or decay.shape[0] != num_frames or decay.device != like.device:
            s = self.pcen_smooth
            with torch.inference_mode(False):  # it outlives the mode of the caller
                lag = torch.arange(num_frames)[None, :] - torch.arange(num_frames)[:, None]
                weight = torch.where(lag >= 0, s * (1 - s) ** lag.clamp_min(0).double(), 0.0)
                weight[0] = (1 - s) ** torch.arange(num_frames).double()
                decay = weight.to(like.device, torch.float32)
            self._decay_FF = decay
        return decay

    def __getstate__(self) -> dict[str, Any]:
        # Quickly made; addresses mean nothing elsewhere, and the triangle is larger than the rest.
        return {**self.__dict__, "_decay_FF": None, "_engine_of": None}


def has_numbers(values: Tensor) -> bool:
    """Return whether there is nothing but numbers in memory: no gradient to follow, no tracing."""
    return (
        type(values) is Tensor
        and values.device.type == "cpu"
        and not (values.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and not torch._C._functorch.is_functorch_wrapped_tensor(values)
    )


def _num_changes(tensor: Tensor) -> int:
    # Inference tensors do not count; a buffer that is one is replaced, not changed.
    return 0 if tensor.is_inference() else tensor._version
