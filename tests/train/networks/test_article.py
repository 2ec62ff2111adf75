"""The article's CNN: what it is made of, how large it is, and that it is not trained where it cannot fit."""

import warnings

import pytest

from edge.errors import UsageError
from train.networks.article import (
    ARTICLE_FILTERS,
    article_cnn,
    available_bytes,
    count_parameters,
    require_memory,
    training_bytes,
)
from train.networks.backend import choose_backend

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    pytest.importorskip("keras", reason="needs the train extra")


@pytest.mark.training
def test_article_network_is_as_described_and_counted_unbuilt() -> None:
    for filters in (1, 3):
        model = article_cnn(filters)
        assert model.count_params() == count_parameters(filters)
        assert model.get_layer("pool").output.shape == (None, 12, 12, filters)
        assert (model.input_shape, model.output_shape) == ((None, 48, 48, 1), (None, 5))
        assert model.get_layer("conv").kernel.shape == (4, 4, 1, filters)
        assert model.get_layer("hidden").kernel.shape == (144 * filters, 2000)


def test_literal_article_network_has_1_44_billion_parameters() -> None:
    assert count_parameters(ARTICLE_FILTERS) == 1_440_117_005


def test_what_does_not_fit_is_refused_with_the_largest_that_does() -> None:
    free = 8 * 1024**3
    with pytest.raises(UsageError, match="5,000 filters make 1,440,117,005 parameters") as caught:
        require_memory(ARTICLE_FILTERS, batch=128, free_bytes=free)
    told = str(caught.value)
    assert "8.6 GB are free here" in told
    largest = int(told.rpartition("--filters ")[2].removesuffix(" fits"))
    require_memory(largest, batch=128, free_bytes=free)
    assert training_bytes(largest + 1, batch=128) > free


def test_free_memory_is_found_on_linux() -> None:
    free = available_bytes()
    assert free is None or 1_000_000 < free < 1e14
