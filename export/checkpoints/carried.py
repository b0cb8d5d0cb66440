"""The recipe that a training script saved beside the weights: class names, mean, std and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from r2p_edge.export.checkpoints.inert_pickle import Instance
from r2p_edge.export.checkpoints.numpy_pickle import numpy_value
from r2p_edge.export.checkpoints.state_dicts import is_module, parts_of
from r2p_edge.spec.checks import is_number, plain, repeated

Channels = tuple[float, float, float]

# Keys of Lightning's hyper-parameters, torchvision's ImageFolder, Transformers and mmengine.
_NAMES = {
    *("classes", "class_names", "classnames", "labels", "label_names", "categories"),
    *("class_to_idx", "idx_to_class", "label_map", "id2label", "label2id"),
}
_MEANS = ("mean", "img_mean", "image_mean", "pixel_mean", "norm_mean", "normalize_mean")
# Keys of arguments and of hyper-parameters; numbers outside the range are of something else.
_NUMBERS: Mapping[str, tuple[frozenset[str], int, int]] = {
    "frames": (
        frozenset(
            ("num_frames", "n_frames", "clip_len", "clip_length", "clip_frames", "sample_duration",
             "frames_per_clip", "num_frames_per_clip", "frame_num", "sequence_length")
        ),
        2,
        512,
    ),
    "size": (
        frozenset(
            ("size", "sample_size", "crop_size", "input_size", "img_size", "image_size",
             "train_crop_size", "val_crop_size", "spatial_size")
        ),
        32,
        1024,
    ),
    "classes": (
        frozenset(("num_classes", "n_classes", "nb_classes", "num_class", "n_finetune_classes")),
        1,
        100_000,
    ),
}  # fmt: skip
_BGR = ("bgr", "is_bgr", "to_bgr", "use_bgr")
_RGB = ("rgb", "is_rgb", "to_rgb", "use_rgb")
_ORDERS = ("channel_order", "color_order", "color_format", "color_mode", "input_space")
_DEPTH = 8  # of what is looked through, in containers
_OBJECTS = 100_000
_DIGITS = 9  # of a class index; Python refuses to convert thousands of them


class CarriedNumber(NamedTuple):
    """A number that a training script saved, and its place in the file."""

    value: int
    key: str


class CarriedRecipe(NamedTuple):
    """The recipe in a checkpoint.

    Attributes:
        labels: names of the classes in the order of the outputs; None where it has none.
        labels_key: the place of the labels in the file.
        mean, std: of the normalisation, for pixels of 0 to 255 times `scale`; None without.
        scale: 1/255 where mean and std are of pixels of 0 to 1, else 1.
        mean_key: the place of the mean in the file.
        frames, size, classes: frames of a clip, side of the crop, number of classes; None without.
        bgr_key: the place of a word that the pixels were in BGR; "" without.
    """

    labels: tuple[str, ...] | None = None
    labels_key: str = ""
    mean: Channels | None = None
    std: Channels | None = None
    scale: float = 1.0
    mean_key: str = ""
    frames: CarriedNumber | None = None
    size: CarriedNumber | None = None
    classes: CarriedNumber | None = None
    bgr_key: str = ""


def carried_recipe(content: Any) -> CarriedRecipe:
    """Return what an object that a training script saved says of its recipe.

    The outermost of each counts. What is no list of names or no three numbers is left alone.

    Args:
        content: the object, as `inert_pickle.read_pickle` returns it.
    """
    found = CarriedRecipe()
    for path, key, value, siblings in _named_values(content):
        if found.labels is None and key.casefold() in _NAMES and (names := _names(value)):
            found = found._replace(labels=names, labels_key=plain(path))
        if found.mean is None and key.casefold() in _MEANS and (mean := _channels(value)):
            std = _channels(siblings.get(key.replace("mean", "std").replace("MEAN", "STD")))
            if std and min(std) > 0:
                scale = 1 / 255 if max(map(abs, mean)) <= 1 else 1.0
                found = found._replace(mean=mean, std=std, scale=scale, mean_key=plain(path))
        for kind, (keys, least, most) in _NUMBERS.items():
            number = _side(value) if key.casefold() in keys else None
            if number is not None and least <= number <= most and getattr(found, kind) is None:
                numbers = {kind: CarriedNumber(number, plain(path))}
                found = CarriedRecipe(**found._asdict() | numbers)
        if not found.bgr_key and _says_bgr(key.casefold(), value):
            found = found._replace(bgr_key=plain(path))
    return found


def _side(value: Any) -> int | None:
    """Return a whole number, or the one that all of a list are."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    same = len(listed) in (1, 2) and all(type(item) is int for item in listed)
    return listed[0] if same and len(set(listed)) == 1 else None


def _says_bgr(key: str, value: Any) -> bool:
    if key in _ORDERS:
        return isinstance(value, str) and value.casefold() == "bgr"
    return (key in _BGR and value is True) or (key in _RGB and value is False)


def _named_values(content: Any) -> Iterator[tuple[str, str, Any, Mapping[Any, Any]]]:
    """Yield the path, key, value and siblings of all that has a name, outermost first."""
    waiting: list[tuple[str, int, Any]] = [("", 0, content)]
    seen = {id(content)}
    for path, depth, value in waiting:
        parts = dict(parts_of(value))
        for key, part in parts.items():
            inner = f"{path}.{key}" if path else key
            yield inner, key, part, parts
            nested = isinstance(part, (Mapping, list, tuple, Instance)) and not is_module(part)
            if nested and depth < _DEPTH and id(part) not in seen and len(seen) < _OBJECTS:
                seen.add(id(part))
                waiting.append((inner, depth + 1, part))


def _names(value: Any) -> tuple[str, ...] | None:
    """Return the names of classes in a list, {"name": 0} or {0: "name"}."""
    listed = _in_order(value) if isinstance(value, Mapping) else value
    if not isinstance(listed, (list, tuple)) or not listed:
        return None
    names = [name.strip() for name in listed if isinstance(name, str)]
    usable = len(names) == len(listed) and all(name and name.isprintable() for name in names)
    return tuple(names) if usable and not repeated(names) else None


def _in_order(value: Mapping[Any, Any]) -> list[Any] | None:
    """Return the names by their numbers; None if these do not count from 0 on."""
    by_number = {}
    for key, item in value.items():
        number, name = (item, key) if _is_number(item) else (key, item)
        if not _is_number(number):
            return None
        by_number[int(number)] = name
    counted = by_number.keys() == set(range(len(value)))
    return [by_number[number] for number in range(len(value))] if counted else None


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isdecimal() and len(value) <= _DIGITS
    return isinstance(value, int) and not isinstance(value, bool)


def _channels(value: Any) -> Channels | None:
    """Return three finite numbers."""
    array = numpy_value(value)
    listed = array.tolist() if array is not None and array.shape == (3,) else value
    if not isinstance(listed, (list, tuple)) or len(listed) != 3 or not all(map(is_number, listed)):
        return None
    red, green, blue = map(float, listed)
    return red, green, blue
