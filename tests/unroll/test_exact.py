"""The engines that are exact give one gradient: of images, labels and step size, whatever the inner loop does."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch

from condense.flat import FlatNetwork
from condense.unroll import Engine, InnerLoop, Segment, outer_loss
from condense.unroll.steps import DoubleBackward, _measured

CASES: dict[str, dict[str, Any]] = {
    "hard labels": {"soft": False},
    "soft labels": {},
    "without norm": {"network": "convnet-d2:width=4,norm=none"},
    "group norm, max pooling": {"network": "convnet-d1:width=4,norm=group,pooling=max"},
    "smooth": {"network": "convnet-d2:width=4,activation=softplus"},
    "perceptron": {"network": "mlp"},
    "mini-batches, the last one short": {"batches": ((0, 3, 5, 1), (2, 4), (5, 0, 2, 3), (1, 4))},
    "a row twice in a batch": {"batches": ((0, 0, 1), (2, 2, 2))},
    "augmented and mirrored": {"augmented": True},
    "momentum": {"inner": {"momentum": 0.9}},
    "scale": {"inner": {"scale": 1.29}},
    "two matches": {"middle": True, "batches": ((0, 1, 2, 3, 4, 5),) * 4},
    "everything": {
        "batches": ((0, 3, 5, 1), (2, 4), (5, 0, 2, 3), (1, 4), (0, 1, 2, 3), (4, 5), (3, 2, 1, 0), (5, 4)),
        "augmented": True,
        "middle": True,
        "inner": {"momentum": 0.9, "scale": 0.73},
    },
}
EXACT = {"adjoint": Engine(), "full": Engine("unroll")}


@pytest.mark.parametrize("engine", EXACT.values(), ids=EXACT.keys())
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_it_equals_the_textbook_in_float64(problem: Any, gap: Any, case: dict[str, Any], engine: Engine) -> None:
    given = problem(**case)
    assert gap(given.gradients(engine), given.gradients(Engine("higher"))) < 1e-9


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_adjoint_equals_the_textbook_in_float32(problem: Any, gap: Any, case: dict[str, Any]) -> None:
    given = problem(**case, dtype=torch.float32)
    assert gap(given.gradients(Engine()), given.gradients(Engine("higher"))) < 1e-5


# Maps of more than 32768 numbers, which PyTorch divides between threads.
WIDE: dict[str, dict[str, Any]] = {
    "soft, momentum": {"inner": {"momentum": 0.5}},
    "hard": {"soft": False},
    "no norm": {"network": "convnet-d2:width=128,norm=none"},
    "mini-batches, augmented": {"batches": ((0, 3, 5, 1), (2, 4), (5, 0, 2, 3)), "augmented": True, "middle": True},
}


@pytest.mark.parametrize("change", ["threads", "memory order"])
@pytest.mark.parametrize("case", WIDE.values(), ids=WIDE.keys())
def test_other_orders_of_summation_point_the_same_way(problem: Any, case: dict[str, Any], change: str) -> None:
    """A few ReLUs flip, which moves the reference's own gradient by a hundredth."""
    given = problem(**{"network": "convnet-d2:width=128", "dtype": torch.float32, **case})
    expected = given.gradients(Engine("higher"))
    images, labels, step_size = given.leaves()
    if change == "threads":
        torch.set_num_threads(2)  # the fixture that sets one puts back what was there before
    else:
        images = images.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        assert not images.is_contiguous()
    inner, segment = given.parts()
    targets = labels.softmax(1) if given.soft else labels
    loss = outer_loss(inner, segment, images, targets, step_size).loss
    found = torch.autograd.grad(loss, [leaf for leaf in (images, labels, step_size) if leaf.requires_grad])
    for ours, theirs in zip(found, expected, strict=True):
        assert float(torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)) >= 0.999
    assert any(not torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("engine", ["adjoint", "unroll", "higher"])
def test_gradients_agree_with_finite_differences(problem: Any, engine: str) -> None:
    given = problem(
        network="convnet-d1:width=2,activation=tanh", batches=((0, 1, 2), (3, 4, 5)), inner={"momentum": 0.5}
    )
    inner, segment = given.parts()

    def loss(images: torch.Tensor, logits: torch.Tensor, step_size: torch.Tensor) -> torch.Tensor:
        return outer_loss(inner, segment, images, logits.softmax(1), step_size, Engine(engine)).loss

    assert torch.autograd.gradcheck(loss, given.leaves(), fast_mode=True)


def test_one_step_on_a_line_is_solved_by_hand() -> None:
    """Logits (w*x, 0): g = -(1 - s(w*x)) * x for class 0; theta_1 = w - beta*g; L = (theta_1 - t)² / (w - t)²."""

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([0.7], dtype=torch.float64))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            product = self.weight * images.flatten(1)  # (1, 1)
            return torch.cat([product, torch.zeros_like(product)], dim=1)

    w, x, t, beta = 0.7, 1.3, 1.5, 0.2
    module = Line()
    images = torch.full((1, 1, 1, 1), x, dtype=torch.float64, requires_grad=True)
    step_size = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    network = FlatNetwork(module)
    start, target = network.flatten(module), torch.tensor([t], dtype=torch.float64)
    inner = InnerLoop(network, [torch.tensor([0])])
    outer = outer_loss(inner, Segment.ending_at(start, target, 1), images, torch.tensor([0]), step_size)
    outer.loss.backward()

    rest = 1.0 / (1.0 + torch.exp(torch.tensor(w * x, dtype=torch.float64)))  # 1 - s(w*x)
    end = w + beta * rest * x
    slope = 2 * (end - t) / (w - t) ** 2
    torch.testing.assert_close(outer.end, end.reshape(1))
    torch.testing.assert_close(outer.loss.detach(), ((end - t) / (w - t)) ** 2)
    torch.testing.assert_close(step_size.grad, slope * rest * x)
    torch.testing.assert_close(images.grad.flatten(), (slope * beta * (rest - rest * (1 - rest) * w * x)).reshape(1))


def test_the_upstream_gradient_is_a_factor(problem: Any) -> None:
    given = problem()
    inner, segment = given.parts()
    images, labels, step_size = given.leaves()
    loss = outer_loss(inner, segment, images, labels.softmax(1), step_size).loss
    (once,) = torch.autograd.grad(loss, images)
    loss = outer_loss(inner, segment, images, labels.softmax(1), step_size).loss
    (thrice,) = torch.autograd.grad(3.0 * loss, images)
    torch.testing.assert_close(thrice, 3.0 * once)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_stored_path_is_given_up_with_the_gradient(problem: Any, momentum: float) -> None:
    """Autograd frees what it was given to save; what hung on the node would live as long as the loss."""
    given = problem(inner={"momentum": momentum})
    inner, segment = given.parts()
    images, labels, step_size = given.leaves()
    loss = outer_loss(inner, segment, images, labels.softmax(1), step_size).loss
    node: Any = loss.grad_fn
    vectors = [saved for saved in node.saved_tensors if saved.shape == segment.start.shape]
    assert len(vectors) == 4 + 3 * bool(momentum)  # theta_0 .. theta_3, and the velocities
    assert node.plan.segment is segment  # the loss holds nothing else but what it was given
    assert set(vars(node)) <= {"plan"}
    loss.backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        node.saved_tensors  # noqa: B018


def test_images_that_no_batch_takes_get_no_gradient(problem: Any) -> None:
    images, labels, step_size = problem(batches=((0, 1), (1, 2))).gradients(Engine())
    assert bool((images[3:] == 0).all())
    assert bool((labels[3:] == 0).all())
    assert bool((images[:3].flatten(1).abs().sum(1) > 0).all())
    assert float(step_size) != 0.0


@pytest.mark.parametrize("graph_bytes", [1, 200_000, 10**9])
def test_kept_graphs_change_nothing(problem: Any, gap: Any, graph_bytes: int) -> None:
    """One byte keeps no graph, the second a part, the last all; group norm's first derivative rounds otherwise then."""
    given = problem(batches=((0, 1, 2), (3, 4, 5), (1, 3, 5), (0, 2, 4)), inner={"momentum": 0.5})
    assert gap(given.gradients(Engine(graph_bytes=graph_bytes)), given.gradients(Engine())) < 1e-12


def test_a_graph_is_measured_by_what_it_holds_at_the_end() -> None:
    """What is freed on the way leaves an address that a later tensor can take: the sum would be a matter of luck."""
    leaf = torch.ones(1000, requires_grad=True)

    def build() -> Any:
        dropped = (leaf * 1).exp()  # a node that saves its result
        kept = (leaf * 1).exp()
        del dropped
        return kept

    assert _measured(build)[1] == 4000


@pytest.mark.parametrize("share", [0.0, 0.9, 2.5, 4.0])
def test_graphs_go_with_the_gradient(problem: Any, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """A saved tensor that keeps its own graph alive would keep it for good: no collector sees through the nodes."""
    given = problem(batches=((0, 1, 2), (3, 4, 5), (1, 3, 5), (0, 2, 4)))
    inner, segment = given.parts()
    images, labels, step_size = given.leaves()
    step = DoubleBackward(inner.network, False)
    _, size = _measured(lambda: step._graph(segment.start, images[:3].detach(), labels[:3].detach()))
    built: list[weakref.ref[torch.Tensor]] = []
    graph_of = DoubleBackward._graph

    def remember(*parts: Any) -> Any:
        graph = graph_of(*parts)
        built.append(weakref.ref(graph.parameters))
        return graph

    monkeypatch.setattr(DoubleBackward, "_graph", remember)
    loss = outer_loss(inner, segment, images, labels, step_size, Engine(graph_bytes=int(share * size))).loss
    assert sum(graph() is not None for graph in built) == int(share)
    loss.backward()
    assert built
    assert [graph() for graph in built] == [None] * len(built)


@pytest.mark.parametrize(("share", "kept"), [(0.9, []), (2.5, [2, 3]), (4.0, [0, 1, 2, 3])])
def test_as_many_graphs_are_kept_as_fit(problem: Any, share: float, kept: list[int]) -> None:
    given = problem(batches=((0, 1, 2), (3, 4, 5), (1, 3, 5), (0, 2, 4)))
    inner, segment = given.parts()
    images, labels, _ = (leaf.detach() for leaf in given.leaves())
    _, size = _measured(lambda: DoubleBackward(inner.network, False)._graph(segment.start, images[:3], labels[:3]))
    step = DoubleBackward(inner.network, False, graph_bytes=int(share * size))
    step.begin(4)
    for k in range(4):
        step.gradient(k, segment.start, images[:3], labels[:3])
    assert sorted(step._kept) == kept
