"""The package's own sensors and tasks keep the laws, and the suites see who breaks them."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from tiny import MemoryScenes, raises_naming

from ave_env.sensors.base import FiniteSensor, Glimpse
from ave_env.sensors.grid import GridSensor
from ave_env.tasks.classification import Classification
from ave_env.tasks.metrics import Metric
from ave_env.tasks.reconstruction import Reconstruction
from ave_env.testing import check_sensor, check_task


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize(
    ("size", "patch", "window"), [((64, 128), 16, 2), ((64, 96), 16, 4), ((5, 7), 1, 1)]
)
def test_the_grid_sensor_keeps_the_laws(size, patch, window, wraps):
    check_sensor(GridSensor(size, patch, window, wraps))


@pytest.mark.parametrize("task", [Classification, Reconstruction])
def test_the_tasks_keep_the_laws(task):
    check_task(task, scenes=MemoryScenes())


def changed(glimpse, **parts):
    """A glimpse with some parts replaced."""
    names = ("pixels", "patch_ids", "boxes", "centers", "patches", "scales")
    return Glimpse(**{**{name: getattr(glimpse, name) for name in names}, **parts})


class Spoilt(GridSensor):
    """Does as the grid sensor does, and then something that it should not."""

    def look(self, images, actions, rng):
        return self.spoil(super().look(images, actions, rng), images, rng)


class Leaks(Spoilt):
    def spoil(self, glimpse, images, rng):
        brightness = images.mean(axis=(1, 2, 3)).astype(np.uint8)
        pixels = glimpse.pixels.copy()
        pixels[:, 0, 0, 0] = brightness
        return changed(glimpse, pixels=pixels)


class LeaksToTheEncoder(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(
            glimpse, patches=glimpse.patches + images.max(axis=(1, 2))[:, None, None, None]
        )


class ShiftedIds(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, patch_ids=(glimpse.patch_ids + 1) % (self.grid[0] * self.grid[1]))


class RepeatedIds(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, patch_ids=np.repeat(glimpse.patch_ids[:, :1], 4, axis=1))


class LargeIds(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, patch_ids=glimpse.patch_ids + 1000)


class NarrowBoxes(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, boxes=glimpse.boxes - np.array([0, 0, 0, 1]))


class BoxesOutside(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, boxes=glimpse.boxes + np.array([0, 0, 1000, 0]))


class CentersInPixels(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, centers=glimpse.centers * 64)


class CentersElsewhere(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, centers=((glimpse.centers + 0.5) % 1).astype(np.float32))


class DoubleCenters(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, centers=glimpse.centers.astype(np.float64))


class SharedNoise(Spoilt):
    def spoil(self, glimpse, images, rng):
        noise = rng[0].integers(0, 256, glimpse.pixels.shape, np.uint8)
        return changed(glimpse, pixels=glimpse.pixels ^ noise)


class GlobalNoise(Spoilt):
    def spoil(self, glimpse, images, rng):
        noise = np.random.default_rng().integers(0, 256, glimpse.pixels.shape, np.uint8)
        return changed(glimpse, pixels=glimpse.pixels ^ noise)


class Writes(Spoilt):
    def spoil(self, glimpse, images, rng):
        images[:, 0, 0] = 0
        return glimpse


class Views(Spoilt):
    def spoil(self, glimpse, images, rng):
        side = self.glimpse_shape[0]
        return changed(glimpse, pixels=images[:, :side, :side])


class HandsOutItsTable(Spoilt):
    def spoil(self, glimpse, images, rng):
        tables = self.__dict__.setdefault("tables", {})
        return changed(glimpse, boxes=tables.setdefault(glimpse.patch_ids.tobytes(), glimpse.boxes))


class Blind(Spoilt):
    def spoil(self, glimpse, images, rng):
        return changed(glimpse, pixels=glimpse.pixels * 0)


class RevealsEverything(GridSensor):
    def reveals(self, visited):
        return np.ones((len(visited), self.num_actions), np.int8)


class ForeseesOtherBoxes(GridSensor):
    def boxes(self, actions):
        return super().boxes(actions)[::-1]

    def look(self, images, actions, rng):
        return changed(super().look(images, actions, rng), boxes=GridSensor.boxes(self, actions))


class CountsFromOne(GridSensor):
    @property
    def action_space(self):
        return gym.spaces.Discrete(self.num_actions, start=1)

    def look(self, images, actions, rng):
        return super().look(images, actions - 1, rng)


@pytest.mark.parametrize(
    ("sensor", "words"),
    [
        (Leaks, ["nothing outside the box", "pixels"]),
        (LeaksToTheEncoder, ["nothing outside the box", "patches"]),
        (ShiftedIds, ["lie in the box wholly"]),
        (RepeatedIds, ["the patch_ids of a row differ"]),
        (LargeIds, ["patch_ids lie in [-1, 24)"]),
        (NarrowBoxes, ["box"]),
        (BoxesOutside, ["boxes lie within the 64x96 scene"]),
        (CentersInPixels, ["centers lie in [0, 1]"]),
        (CentersElsewhere, ["centre of a glimpse lies in its box"]),
        (DoubleCenters, ["centers are float32", "float64"]),
        (SharedNoise, ["does not depend on the other rows"]),
        (GlobalNoise, ["equal generators give equal glimpses"]),
        (Writes, ["writes neither to scenes"]),
        (Views, ["new arrays", "view of the scenes"]),
        (HandsOutItsTable, ["in new arrays", "boxes"]),
        (Blind, ["shows something of the scene"]),
        (RevealsEverything, ["reveals() marks"]),
        (ForeseesOtherBoxes, ["that look() then gives", "boxes"]),
        (CountsFromOne, ["Discrete(num_actions)"]),
    ],
)
def test_a_sensor_that_breaks_a_law_is_found_out(sensor, words):
    with raises_naming(AssertionError, words):
        check_sensor(sensor((64, 96), 16))


@dataclasses.dataclass
class Soft(FiniteSensor):
    """Says the same as the grid sensor, and can be changed."""

    name = "soft"
    image_size: tuple[int, int]
    patch_size: int

    num_actions = glimpse_shape = patches_per_glimpse = 4
    look = patch_ids = boxes = GridSensor.look


class Texts(GridSensor):
    action_space = gym.spaces.Text(3)


def test_a_sensor_that_can_be_changed_is_found_out():
    with raises_naming(AssertionError, ["frozen dataclass"]):
        check_sensor(Soft((64, 96), 16))


def test_what_is_no_sensor_is_found_out():
    with raises_naming(AssertionError, ["derives from Sensor"]):
        check_sensor(Reconstruction())


def test_a_sensor_whose_actions_no_environment_takes_is_refused():
    with raises_naming(TypeError, ["Text", "Discrete"]):
        check_sensor(Texts((64, 96), 16))


class MissingColumn(Reconstruction):
    def measure(self, belief, truth):
        columns = super().measure(belief, truth)
        del columns["rmse_unseen"]
        return columns


class MatrixColumn(Reconstruction):
    def measure(self, belief, truth):
        return {**super().measure(belief, truth), "rmse": np.zeros((len(truth.labels), 2))}


class HalfPrecision(Reconstruction):
    def score(self, belief, truth):
        return super().score(belief, truth).astype(np.float32)


class Infinite(Reconstruction):
    def score(self, belief, truth):
        return super().score(belief, truth) / 0.0


class Ranks(Reconstruction):
    def score(self, belief, truth):
        scores = super().score(belief, truth)
        return scores - scores.mean()


class ReadsMore(Reconstruction):
    def score(self, belief, truth):
        return super().score(belief, truth) + belief["latent"].sum(axis=1)


class NoDirection(Reconstruction):
    metrics = (Metric(name="rmse", label="RMSE"),)


class UnknownColumn(Reconstruction):
    metrics = (*Reconstruction.metrics, Metric(name="ssim", label="SSIM", in_info=False))


class TakenName(Reconstruction):
    columns = ("rmse", "coverage")
    metrics = (*Reconstruction.metrics[:1], Metric(name="coverage", label="seen"))


class Lambda(Reconstruction):
    def __init__(self):
        self.metrics = (
            Metric(
                name="rmse", label="RMSE", better="lower", value=lambda columns: columns["rmse"]
            ),
        )


class OtherInInfo(Reconstruction):
    def measure_step(self, belief, truth, score):
        return {"rmse": score}


class Spends(Reconstruction):
    def score(self, belief, truth):
        belief["reconstruction"][:] = 0
        return super().score(belief, truth)


class Remembers(Reconstruction):
    count = 0

    def score(self, belief, truth):
        self.count += 1
        return super().score(belief, truth) - self.count


class UnknownPart(Reconstruction):
    requires = ("reconstruction", "crystal_ball")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (MissingColumn, ["measure() returns the columns declared"]),
        (MatrixColumn, ["column 'rmse' is bool, int64 or float64 (5,)", "(5, 2)"]),
        (HalfPrecision, ["score() is float64 (5,)", "float32"]),
        (Infinite, ["scores are finite"]),
        (Ranks, ["score of a row does not depend on the other rows"]),
        (ReadsMore, ["`requires`", "latent"]),
        (NoDirection, ["main metric", "'rmse'"]),
        (UnknownColumn, ["columns that are declared", "ssim"]),
        (TakenName, ["names that the environment does not use", "coverage"]),
        (Lambda, ["a task pickles"]),
        (OtherInInfo, ["info's 'rmse'"]),
        (Spends, ["writes neither"]),
        (Remembers, ["function of its arguments"]),
        (UnknownPart, ["`requires`", "crystal_ball"]),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_task_that_breaks_a_law_is_found_out(task, words):
    with raises_naming(AssertionError, words):
        check_task(task, scenes=MemoryScenes())


class Segments(Reconstruction):
    targets = ("segmentation",)


def test_scenes_without_the_targets_are_named():
    with raises_naming(ValueError, ["segmentation", "memory"]):
        check_task(Segments, scenes=MemoryScenes())
