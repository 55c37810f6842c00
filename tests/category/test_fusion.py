import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vsa.category.fusion import choose_fusion, fuse
from vsa.category.search import vote


def random_case(seed, n=60, n_classes=4, k=10):
    rng = np.random.default_rng(seed)
    model = rng.dirichlet(np.ones(n_classes), n)
    distances = np.sort(rng.uniform(0, 2, (n, k)), axis=1)
    neighbours = rng.integers(0, n_classes, (n, k))
    return model, distances, neighbours, rng.integers(0, n_classes, n)


@given(seed=st.integers(0, 2**32 - 1), weight=st.floats(0, 1))
def test_fusion_is_a_distribution_between_its_parts(seed, weight):
    rng = np.random.default_rng(seed)
    model, search = rng.dirichlet(np.ones(5), (2, 8))
    fused = fuse(model, search, weight)
    np.testing.assert_allclose(fused.sum(axis=1), 1)
    assert (fused >= np.minimum(model, search) - 1e-12).all()
    assert (fused <= np.maximum(model, search) + 1e-12).all()


def test_weights_at_the_ends_return_one_part():
    model, search = np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]])
    np.testing.assert_array_equal(fuse(model, search, 1.0), model)
    np.testing.assert_array_equal(fuse(model, search, 0.0), search)


@given(seed=st.integers(0, 2**32 - 1))
def test_choice_is_the_best_of_the_grid_on_validation(seed):
    model, distances, neighbours, labels = random_case(seed)
    decays, weights = (0.0, 1.0, 5.0), (0.0, 0.25, 0.5, 1.0)
    choice = choose_fusion(model, distances, neighbours, labels, decays, weights)

    def accuracy(probabilities):
        return (probabilities.argmax(axis=1) == labels).mean()

    searches = {d: vote(distances, neighbours, 4, d) for d in decays}
    assert accuracy(searches[choice.decay]) == max(accuracy(s) for s in searches.values())
    fused = [accuracy(fuse(model, searches[choice.decay], w)) for w in weights]
    assert accuracy(fuse(model, searches[choice.decay], choice.weight)) == max(fused)


def test_a_useless_branch_gets_no_weight():
    labels = np.arange(40) % 4
    perfect = np.eye(4)[labels] * 0.7 + 0.075
    wrong = np.repeat(((labels + 1) % 4)[:, None], 5, axis=1)
    choice = choose_fusion(perfect, np.zeros((40, 5)), wrong, labels)
    assert choice.weight == 1.0
