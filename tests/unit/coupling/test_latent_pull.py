import torch

from coupled_core.coupling.latent_pull import average_over_groups, pull_together

SIGMA = torch.tensor(0.7, dtype=torch.float64)
GROUPS = torch.tensor([0, 0, 1, 1, 1])


def test_averages_run_over_the_rows_of_a_group_alone() -> None:
    rows = torch.tensor([[1.0], [3.0], [10.0], [20.0], [60.0]])
    assert average_over_groups(rows, GROUPS).flatten().tolist() == [2.0, 2.0, 30.0, 30.0, 30.0]


def test_clean_latents_move_by_the_strength_and_keep_their_mean() -> None:
    latents, velocity = torch.randn(2, 5, 4, 3, generator=torch.manual_seed(0)).double()
    clean = latents - SIGMA * velocity
    pulled = latents - SIGMA * pull_together(latents, velocity, SIGMA, GROUPS, 0.3)
    mean = average_over_groups(clean, GROUPS)
    torch.testing.assert_close(average_over_groups(pulled, GROUPS), mean)
    torch.testing.assert_close(pulled - mean, 0.7 * (clean - mean))


def test_full_strength_leaves_no_difference_to_the_last_bit() -> None:
    latents = torch.randn(1, 4, 3, generator=torch.manual_seed(1)).expand(5, -1, -1)
    velocity = torch.randn(5, 4, 3, generator=torch.manual_seed(2))
    pulled = pull_together(latents, velocity, SIGMA.float(), torch.zeros(5, dtype=torch.int64), 1.0)
    assert (pulled == pulled[0]).all()
    assert not (velocity == velocity[0]).all()
