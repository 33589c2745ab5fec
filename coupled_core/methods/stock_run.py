"""One batch of samples of one size on its way through a stock model: rows, Euler steps, costs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from coupled_core.generation.noise import draw_noise, image_ids
from coupled_core.generation.noise_levels import compute_noise_levels
from coupled_core.methods.stock_model import StockModel, TextRows
from coupled_core.records import Sample

OnStep = Callable[[int, int], None]


class StockRun:
    """G samples with R images; image 0 of a sample is its source, the others are its edits.

    Attributes:
        prompts: the R full prompts, sample by sample.
        images: their embeddings.
        noise: (G, S_img, in_channels) at sigma = 1, one a sample, at least float32.
        sample_of_image: (R,) index of each image's sample.
        source_of_image: (R,) row of image 0 of the same sample.
        sources: (G,) rows of the images 0.
        edits: (R - G,) rows of all others.
        seeds: of each sample.
        sigmas: (T + 1,), from about 1 down to exactly 0; level i is sigmas[i].
        evaluations: (G,) rows that went through the transformer for each sample so far.
    """

    def __init__(
        self,
        model: StockModel,
        samples: Sequence[Sample],
        width: int,
        height: int,
        on_step: OnStep | None = None,
    ) -> None:
        self.model = model
        self._samples = samples
        sizes = torch.tensor([len(sample.group.prompts) for sample in samples])
        self.sample_of_image = torch.arange(len(samples)).repeat_interleave(sizes)
        self.sources = sizes.cumsum(0) - sizes
        self.source_of_image = self.sources[self.sample_of_image]
        rows = torch.arange(len(self.source_of_image))
        self.edits = rows[rows != self.source_of_image]
        self.seeds = [sample.seed for sample in samples]
        self.prompts = [prompt for sample in samples for prompt in sample.group.prompts]
        self.images = model.encode(self.prompts, self.sample_of_image)

        device = model.pipeline._execution_device
        noise = [draw_noise(model.pipeline, seed, width, height) for seed in self.seeds]
        exact = torch.promote_types(model.transformer.dtype, torch.float32)
        self.noise = torch.stack(noise).to(device, exact)
        self._image_ids = image_ids(model.pipeline, width, height).to(device)
        levels = compute_noise_levels(
            model.pipeline.scheduler,
            model.provenance.num_inference_steps,
            num_image_tokens=self._image_ids.shape[0],
        )
        self.sigmas = levels.sigmas.to(device)
        self._timesteps = torch.cat([levels.timesteps, torch.zeros(1)]).to(device)
        self.evaluations = torch.zeros(len(samples), dtype=torch.int64)
        self._on_step, self._num_calls, self._calls_expected = on_step, 0, 0

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.sigmas) - 1

    def count_steps(self, share: float) -> int:
        """Return how many of the T steps a share in [0, 1] is."""
        return round(min(max(share, 0.0), 1.0) * self.num_steps)

    def encode_backgrounds(self) -> TextRows:
        """Return the background prompts, one row a sample."""
        prompts = [sample.split.background_prompt for sample in self._samples]
        return self.model.encode(prompts, torch.arange(len(prompts)))

    def expect(self, num_calls: int) -> None:
        """Announce how many calls of `velocity` will follow in all; progress counts them."""
        self._calls_expected = num_calls

    def velocity(
        self, latents: Tensor, text: TextRows, level: int, guidance_scale: float | None = None
    ) -> Tensor:
        """Run the transformer once; return noise minus image, like `latents`.

        Args:
            latents: (rows, S_img, in_channels).
            text: as many rows.
            level: 0 is the noisiest, T is clean.
            guidance_scale: None: the run's.
        """
        self.evaluations += torch.bincount(text.sample_of_row, minlength=len(self.evaluations))
        velocity = self.model.predict(
            latents, text, self._timesteps[level], self._image_ids, guidance_scale
        )
        self._num_calls += 1
        if self._on_step is not None:
            self._on_step(self._num_calls, self._calls_expected)
        return velocity

    def step(self, latents: Tensor, velocity: Tensor, level: int) -> Tensor:
        """Take one Euler step from `level` to the next cleaner one."""
        return latents + (self.sigmas[level + 1] - self.sigmas[level]) * velocity

    def denoise(
        self, latents: Tensor, text: TextRows, first: int = 0, last: int | None = None
    ) -> Tensor:
        """Sample as the stock pipeline does, from level `first` to level `last` (None: clean)."""
        for level in range(first, self.num_steps if last is None else last):
            latents = self.step(latents, self.velocity(latents, text, level), level)
        return latents

    def denoise_sources(self) -> Tensor:
        """Return clean latents of image 0 of each sample, made by the stock pipeline, (G, ...)."""
        return self.denoise(self.noise, self.images.take(self.sources))

    def merge(self, sources: Tensor, edits: Tensor) -> Tensor:
        """Put latents of sources (G, ...) and edits (R - G, ...) in the order of the images."""
        merged = sources.new_empty(len(self.prompts), *sources.shape[1:])
        merged[self.sources], merged[self.edits] = sources, edits
        return merged
