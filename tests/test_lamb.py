"""LAMB by hand."""

from __future__ import annotations

import torch

from condense.lamb import Lamb


def test_lamb_moves_a_tensor_by_a_fraction_of_its_norm() -> None:
    tensor = torch.tensor([3.0, 4.0], requires_grad=True)
    optimiser = Lamb([tensor], lr=0.1, eps=0.0)
    for gradient, step in (([2.0, -5.0], 1), ([2.0, -5.0], 2)):
        before = tensor.detach().clone()
        tensor.grad = torch.tensor(gradient)
        optimiser.step()
        # Constant gradients: Adam's direction is their sign, of norm sqrt(2).
        expected = before - 0.1 * before.norm() / 2**0.5 * torch.tensor([1.0, -1.0])
        torch.testing.assert_close(tensor.detach(), expected, msg=f"step {step}")


def test_lamb_moves_a_tensor_of_zeros_as_adam_does() -> None:
    tensor = torch.zeros(2, requires_grad=True)
    tensor.grad = torch.tensor([1.0, -2.0])
    Lamb([tensor], lr=0.1, eps=0.0).step()
    torch.testing.assert_close(tensor.detach(), torch.tensor([-0.1, 0.1]))
