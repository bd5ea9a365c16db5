"What the compiled notebook does not show: processes that are forked, a system that nothing can be written to, more threads than rows, unusual numbers."
import importlib
import multiprocessing
import os

import numpy as np
import pytest
import torch
from numba.core import caching

from sat_recipes import compiled
from sat_recipes.bands import to_reflectance

MEAN, STD = np.linspace(.1, .3, 3, dtype='float32'), np.linspace(.05, .1, 3, dtype='float32')


def numbers(dtype, shape=(5, 3, 4, 6), seed=0): return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)


def normalized(seed):
    patches = numbers('uint16', seed=seed)
    return compiled.reflectance(patches, range(5), [1e-4]*5, [0]*5, [np.nan]*5, mean=MEAN, std=STD).tobytes()


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='no fork here')
def test_a_process_that_is_forked_after_threads_were_used():
    here, threads = [normalized(seed) for seed in range(4)], torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert normalized(0) == here[0]
        with multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map_async(normalized, range(4)).get(timeout=60) == here
    finally: torch.set_num_threads(threads)


def test_nowhere_to_keep_what_is_compiled(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, '_locator_classes', [])
    again = importlib.util.module_from_spec(importlib.util.find_spec('sat_recipes.compiled'))
    again.__spec__.loader.exec_module(again)
    x = numbers('float32')
    np.testing.assert_array_equal(again.normalize(x.copy(), MEAN, STD), compiled.normalize(x.copy(), MEAN, STD))


@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'uint16', 'int16', 'uint32', 'int32', 'int64', 'float16', 'float32', 'float64'])
@pytest.mark.parametrize('nodata', [None, 7, -9999, 1e30, 300.5, np.nan, np.inf])
def test_patches_and_pixels_are_those_of_plain_arithmetic(dtype, nodata):
    patches = numbers(dtype)
    if dtype.startswith('float'): patches[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    expected = np.stack([to_reflectance(dn, .01, -.1, nodata) for dn in patches])
    found = compiled.reflectance(patches, range(5), [.01]*5, [-.1]*5, [np.nan if nodata is None else nodata]*5)
    pixels = np.stack([compiled.pixel_reflectance(dn.transpose(1, 2, 0), .01, -.1, nodata).transpose(2, 0, 1) for dn in patches])
    for mine in (found, pixels): np.testing.assert_array_equal(mine.view('int32'), expected.view('int32'))
    for dn, reflectance in zip(patches, expected): np.testing.assert_array_equal(compiled.has_value(dn.transpose(1, 2, 0), nodata), (np.isfinite(dn) & ~np.isnan(reflectance)).any(0))


@pytest.mark.parametrize('cut', [np.s_[2:9, 3:8], np.s_[:0], np.s_[:, 4:4], np.s_[::2, 1:], np.s_[:, ::3], np.s_[::-1], np.s_[:, ::-1], np.s_[3:4, 5:6], np.s_[:, :, 1:2], np.s_[:, :, ::-1]])
@pytest.mark.parametrize('dtype', ['uint16', 'float32'])
def test_windows_of_a_larger_array_of_any_shape(dtype, cut):
    dn = numbers(dtype, (11, 12, 3))[cut]
    before = dn.copy()
    np.testing.assert_array_equal(compiled.pixel_reflectance(dn, .01, 0, 7), to_reflectance(dn, .01, 0, 7))
    np.testing.assert_array_equal(compiled.has_value(dn, 7), (dn != 7).any(2))
    chances, codes = dn.transpose(2, 0, 1).astype('float32'), np.arange(dn.shape[2], dtype='uint8')
    np.testing.assert_array_equal(compiled.most_probable(chances, codes), codes[chances.argmax(0)])
    assert (dn == before).all() and dn.flags.writeable


@pytest.mark.parametrize('rows', [[], [3], [4, 4, 0]])
def test_any_rows_and_bands_with_more_threads_than_there_are_rows(rows):
    patches, threads = numbers('uint16'), torch.get_num_threads()
    torch.set_num_threads(8)
    try: found = compiled.reflectance(patches, rows, [.5]*len(rows), [0]*len(rows), [np.nan]*len(rows), bands=[2, 0])
    finally: torch.set_num_threads(threads)
    np.testing.assert_array_equal(found, patches[rows][:, [2, 0]]*np.float32(.5) if rows else np.empty((0, 2, 4, 6), 'float32'))


@pytest.mark.parametrize('n', [1, 2, 10, 255, 300])
def test_the_most_probable_class_is_the_first_of_the_highest(n):
    chances = np.random.default_rng(n).random((n, 33, 47), 'float32').round(1)
    codes = np.arange(n, dtype='uint8' if n < 256 else 'uint16')[::-1].copy()
    for part in (chances, chances[:, 3:, :-5], chances[:, :, ::-1], chances[:, ::2, 3:]): np.testing.assert_array_equal(compiled.most_probable(part, codes), codes[part.argmax(0)])


@pytest.mark.parametrize('classes', [1, 2, 10, 300])
@pytest.mark.parametrize('side_by_side', [False, True])
@pytest.mark.parametrize('threads', [1, 3])
def test_softmax_of_overlapping_windows_is_torch_s(classes, side_by_side, threads):
    "Within the rows and columns that are asked for; elsewhere sums stay as they are. Any number of threads gives the same bits."
    rng, before = np.random.default_rng(classes), torch.get_num_threads()
    scores = torch.from_numpy(rng.normal(0, 20, (3, classes, 17, 23)).astype('float32'))
    scores = scores.contiguous(memory_format=torch.channels_last) if side_by_side else scores
    rows, columns = rng.random((3, 17), 'float32'), rng.random((3, 23), 'float32')
    inside, corners = np.array([[0, 17, 0, 23], [2, 15, 3, 20], [5, 6, 22, 23]]), [(4, 0), (4, 11), (4, 20)]
    sums = torch.ones(classes, 40, 50)[:, :30]
    expected = sums.clone().double()
    for p, (top, bottom, left, right), (y, x), row, column in zip(scores.double().softmax(1), inside, corners, rows, columns):
        expected[:, y + top:y + bottom, x + left:x + right] += (p*torch.from_numpy(np.outer(row, column)))[:, top:bottom, left:right]
    torch.set_num_threads(threads)
    try: compiled.add_softmax(scores.numpy(), rows, columns, inside, sums.numpy(), corners)
    finally: torch.set_num_threads(before)
    torch.testing.assert_close(sums.double(), expected, rtol=0, atol=1e-6)
    again = torch.ones(classes, 30, 50)
    compiled.add_softmax(scores.contiguous().numpy(), rows, columns, inside, again.numpy(), corners)
    assert torch.equal(again, sums)


@pytest.mark.parametrize('odd', [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_softmax_of_numbers_that_are_none(odd):
    scores = torch.zeros(1, 4, 2, 40)
    scores[0, 2, 1, 5:9], scores[0, :, 0, 7] = odd, odd
    sums = torch.zeros(4, 2, 40)
    compiled.add_softmax(scores.numpy(), np.ones((1, 2), 'float32'), np.ones((1, 40), 'float32'), np.array([[0, 2, 0, 40]]), sums.numpy(), [(0, 0)])
    torch.testing.assert_close(sums, scores.softmax(1)[0], rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32'])
@pytest.mark.parametrize('bands', [1, 3, 13])
def test_differences_are_undone_with_the_wrapping_of_their_type(dtype, bands):
    whole = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (7, 9, bands), dtype=dtype)
    differences = np.ascontiguousarray(np.diff(whole, axis=1, prepend=np.zeros((7, 1, bands), dtype)))
    np.testing.assert_array_equal(compiled.undo_differences(differences), whole)


@pytest.mark.parametrize('threads', [1, 2, 7])
def test_pairs_are_counted_whatever_the_threads(threads):
    before, codes, targets = torch.get_num_threads(), *np.random.default_rng(0).integers(-2, 6, (2, 800_001))
    sensible = (targets != -1) & (targets >= 0) & (targets < 4) & (codes >= 0) & (codes < 4)
    expected = np.zeros((4, 4), np.int64)
    np.add.at(expected, (targets[sensible], codes[sensible]), 1)
    torch.set_num_threads(threads)
    try:
        np.testing.assert_array_equal(compiled.count_pairs(codes[sensible][::-1], targets[sensible][::-1], 4, -1), expected)
        for wrong in np.flatnonzero(~sensible & (targets != -1))[:50]: assert compiled.count_pairs(codes[wrong:wrong + 1], targets[wrong:wrong + 1], 4, -1) is None
        assert not compiled.count_pairs(codes[:3], np.full(3, -1), 4, -1).any()
        assert not compiled.count_pairs(codes[:0], targets[:0], 4, -1).any()
    finally: torch.set_num_threads(before)
