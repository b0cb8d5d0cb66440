"""Formats that no model is made from: a table. `recognition.py` tells a file's by it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from r2p_edge.export.foreign_parts import JOIN_SAFETENSORS, JOIN_TORCH
from r2p_edge.runtimes import RUNTIMES


class ForeignFormat(NamedTuple):
    """A format that no model is made from.

    Attributes:
        what: the format, as in "is ...".
        way: the way to a file that can be read. FILE and FOLDER stand for the paths of the file
            and of its folder.
        content: a regular expression for the first bytes, in which "." is any byte; "" for none.
        names: a regular expression for the whole name of a file, of letters of any case.
        sure: whether such a name decides alone.
    """

    what: str
    way: str
    content: bytes = b""
    names: str = ""
    sure: bool = False

    def way_from(self, path: Path) -> str:
        """Return the way, with the paths of a file and its folder in it."""
        return with_paths(self.way, path, path.parent)


def with_paths(way: str, file: Path, folder: Path) -> str:
    """Return a way with paths for FILE and FOLDER, as Python's text where they have quotes."""
    paths = {"FILE": str(file), "FOLDER": str(folder)}
    return re.sub(
        "(')?(FILE|FOLDER)(?(1)')",
        lambda found: repr(paths[found[2]]) if found[1] else shlex.quote(paths[found[2]]),
        way,
    )


def _suffixes(*suffixes: str) -> str:
    return rf".*\.({'|'.join(suffixes)})"


TF2ONNX = "convert it to ONNX (pip install tf2onnx; python -m tf2onnx.convert"
"""Beginning of the way from TensorFlow's files."""

ARCHIVE_OF_ARRAYS = ForeignFormat(
    "an archive of NumPy arrays",
    'write them as a .safetensors file: python -c "import numpy; from safetensors.numpy import '
    "save_file; save_file(dict(numpy.load('FILE')), 'model.safetensors')\", and give "
    "model.safetensors",
)
"""Format of `numpy.savez`."""

MERGE_ADAPTER = (
    "merge it into its network in Python: torch.save(PeftModel.from_pretrained(network, "
    "'FOLDER').merge_and_unload().state_dict(), 'merged.pth'), and give that file"
)
"""Way from an adapter in the folder FOLDER."""

JOIN_DISTRIBUTED = (
    "join its parts in PyTorch: python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
    "FOLDER model.pth"
)
"""Way from a distributed checkpoint in the folder FOLDER."""

_OPENSSL = "decrypt it first: openssl enc -d -aes-256-cbc -pbkdf2"
_AS_MADE = "-in FILE -out model.pth, with the cipher and the options that it was encrypted with"
_KERAS_WAY = "load it in Keras and write model.export('model.onnx', format='onnx')"
_MADE_FROM = "give the checkpoint or the ONNX file that it was made from"
_ITSELF = "download the file itself, and not a page or message about it"
_MODEL_FIRST = "the model comes first and is a file of weights"
_UNPACK = "unpack it, and give the file in it"

KERAS = ForeignFormat("a Keras model", _KERAS_WAY, names=_suffixes("keras"), sure=True)
CAFFE = ForeignFormat(
    "a Caffe or Caffe2 model",
    "load it in its framework and export it to ONNX; VMZ publishes its weights for PyTorch too",
    names=_suffixes("caffemodel"),
    sure=True,
)
TENSORFLOW_PARTS = ForeignFormat(
    "a part of a TensorFlow checkpoint, which has weights and no network",
    "give its .index file if it is of an I3D by DeepMind's names; load another one in the code of "
    "its network, write a SavedModel (tf.saved_model.save), and convert that to ONNX (pip install "
    "tf2onnx; python -m tf2onnx.convert --saved-model DIR --output model.onnx)",
    rb"model_checkpoint_path: ",
    r".*\.(meta|data-\d{5}-of-\d{5})",
)

# In an order in which the first one that fits is right.
FORMATS = (
    # Names that decide alone.
    KERAS,
    CAFFE,
    ForeignFormat(
        "PaddlePaddle's parameters or program",
        "load them into their network and write paddle.onnx.export (pip install paddle2onnx)",
        names=_suffixes("pdparams", "pdmodel", "pdiparams", "pdopt"),
        sure=True,
    ),
    ForeignFormat(
        "a TensorFlow model",
        f"{TF2ONNX} --saved-model FOLDER --output model.onnx)",
        names=r"saved_model\.pb",
        sure=True,
    ),
    ForeignFormat(
        "a TensorFlow graph or a damaged ONNX file",
        f"{TF2ONNX} --graphdef FILE --inputs NAME:0 --outputs NAME:0 --output model.onnx), or copy "
        "the ONNX file again",
        names=_suffixes("pb"),
        sure=True,
    ),
    ForeignFormat(
        "a part of a distributed checkpoint of PyTorch's",
        JOIN_DISTRIBUTED,
        names=_suffixes("distcp"),
        sure=True,
    ),
    ForeignFormat(
        "the state of DeepSpeed's optimiser, without the network",
        "run the program that lies beside it: (cd FOLDER/.. && python zero_to_fp32.py . joined), "
        "and give the file that it writes",
        names=r".*(zero_pp_rank_|_optim_states\.pt).*",
        sure=True,
    ),
    ForeignFormat(
        "one part of a model in several files",
        JOIN_SAFETENSORS,
        names=r".*model.*-\d{5}-of-(?!00001)\d{5}\.safetensors",
        sure=True,
    ),
    ForeignFormat(
        "one part of a model in several files",
        JOIN_TORCH,
        names=r".*model.*-\d{5}-of-(?!00001)\d{5}\.(bin|pth?)",
        sure=True,
    ),
    ForeignFormat(
        "an adapter (of PEFT, such as LoRA), which is a change to a network and none by itself",
        MERGE_ADAPTER,
        names=r"adapter_model\.(safetensors|bin)",
        sure=True,
    ),
    ForeignFormat(
        "an object of R's",
        "save the weights in R with safetensors::safe_save_file(model$state_dict(), "
        "'model.safetensors')",
        names=_suffixes("rds", "rdata"),
        sure=True,
    ),
    # Models of other frameworks.
    ForeignFormat(
        "a TensorFlow Lite model",
        f"{TF2ONNX} --tflite FILE --output model.onnx), or better the model that it was made from",
        rb".{4}TFL3",
        _suffixes("tflite"),
    ),
    TENSORFLOW_PARTS,
    ForeignFormat(
        "an HDF5 file, as Keras writes",
        f"{_KERAS_WAY}; weights of a PyTorch network belong in a .safetensors file",
        rb"\x89HDF\r\n\x1a\n",
        _suffixes("h5", "hdf5"),
    ),
    ForeignFormat(
        "MXNet's parameters",
        "export the network with mxnet.onnx.export_model; GluonCV publishes the same weights for "
        "PyTorch too",
        rb"\x12\x01\0\0\0\0\0\0",
        _suffixes("params"),
    ),
    ForeignFormat(
        "a checkpoint of Flax's",
        "export its network from JAX to ONNX (pip install jax2onnx)",
        rb"[\x81-\x8f]\xa6params",
        _suffixes("msgpack"),
    ),
    ForeignFormat(
        "a MATLAB file",
        "write exportONNXNetwork(net, 'model.onnx') in MATLAB; arrays of a PyTorch network are "
        "read with scipy.io.loadmat and belong in a .safetensors file, each by its name",
        rb"MATLAB \d",
        _suffixes("mat"),
    ),
    ForeignFormat(
        "a model in PMML, which has no networks of videos",
        _MADE_FROM,
        rb"\s*<(.*<)?PMML\b",
        _suffixes("pmml"),
    ),
    ForeignFormat(
        "a model of scikit-learn or the like, which sees no videos",
        "give the checkpoint of an R(2+1)D",
        rb"\x80[\x02-\x05].{0,24}(sklearn|joblib|xgboost|lightgbm)\.",
    ),
    ForeignFormat("ONNX Runtime's own format", _MADE_FROM, rb".{4}ORTM", _suffixes("ort")),
    ForeignFormat(
        "an ONNX model as text",
        "write it as a file: python -c \"import onnx; onnx.save(onnx.load('FILE', "
        "format='textproto'), 'model.onnx')\" (or format='onnxtxt' where it begins with <)",
        rb"\s*(<\s*)?ir_version\s*:",
    ),
    ForeignFormat("a model that was built for one runtime", _MADE_FROM, rb"\s*<\?xml.*<net\b"),
    ForeignFormat(
        "a model that was built for one runtime, and no other is made from it",
        _MADE_FROM,
        names=_suffixes(
            *(
                suffix[1:]
                for row in RUNTIMES.values()
                for suffix in row.suffixes
                if suffix != ".onnx"
            )
        ),
    ),
    ForeignFormat(
        "a model that was converted for one device or runtime",
        _MADE_FROM,
        rb"RKNN|\x01HEF|LDMK|7767517\s|.{4}(MSL\d|ET\d\d)",
        _suffixes(
            "dlc|rknn|hef|mlmodel|mlpackage|mlmodelc|ncnn|nb|ms|trt",
            "mnn|pte|kmodel|param|tmfile|uff|cvimodel|bmodel|espdl",
        ),
    ),
    ForeignFormat(
        "the weights of Darknet, without the network",
        "load them with the .cfg file of their network, and export that to ONNX",
        rb"\0\0\0\0[\x01\x02]\0\0\0",
        _suffixes("weights"),
    ),
    ForeignFormat(
        "a model of GGML's, such as a language model",
        _MADE_FROM,
        rb"GGUF|lmgg|tjgg",
        _suffixes("gguf", "ggml"),
    ),
    # Texts that stand for a file.
    ForeignFormat(
        "a Git LFS pointer, a text that stands for the file",
        "run git lfs pull",
        rb"version https://git-lfs",
    ),
    ForeignFormat(
        "a pointer of git-annex, a text that stands for the file",
        "run git annex get FILE",
        rb"(\.\./)*(\.git)?/annex/objects/",
    ),
    ForeignFormat(
        "a pointer of DVC's, a text that stands for the file",
        "run dvc pull FILE, and give the file that it brings",
        rb"outs:\s*\n\s*-\s",
        _suffixes("dvc"),
    ),
    ForeignFormat(
        "a shortcut to a file or an address",
        "give the file that it leads to",
        rb"L\0\0\0\x01\x14\x02\0|\[InternetShortcut\]",
        _suffixes("lnk", "url", "desktop"),
    ),
    ForeignFormat(
        "a torrent, which says where the parts of a file are",
        "download the file with a torrent program, and give that",
        rb"d\d+:(announce|created by|creation date|info)",
        _suffixes("torrent"),
    ),
    ForeignFormat(
        "a checksum",
        "give the file that it is of",
        rb"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?:\s|\Z)"
        rb"|(?:MD5|SHA\d+) ?\(",
        _suffixes("md5", "sha1", "sha256", "sha512", "md5sum", "sha256sum", "crc32"),
    ),
    ForeignFormat(
        "a signature of OpenPGP's",
        "give the file that it is of",
        rb"-----BEGIN PGP SIGNATURE",
        _suffixes("sig"),
    ),
    ForeignFormat(
        "encrypted with OpenPGP",
        "decrypt it first: gpg -o model.pth -d FILE",
        rb"-----BEGIN PGP",
        _suffixes("gpg", "pgp", "asc"),
    ),
    ForeignFormat(
        "encrypted with age",
        "decrypt it first, with the key or the passphrase: age -d -i KEY -o model.pth FILE",
        rb"age-encryption\.org|-----BEGIN AGE",
        _suffixes("age"),
    ),
    ForeignFormat("encrypted with openssl enc", f"{_OPENSSL} {_AS_MADE}", rb"Salted__"),
    ForeignFormat("encrypted with openssl enc -a", f"{_OPENSSL} -a {_AS_MADE}", rb"U2FsdGVkX1"),
    ForeignFormat(
        "a server's answer with its headers",
        f"{_ITSELF}, without them (curl -L -o model.pth ADDRESS, and no -i)",
        rb"HTTP/\d",
    ),
    # Texts.
    ForeignFormat(
        "a Jupyter notebook",
        "give the file of weights that it saves, such as by torch.save",
        rb'\s*\{\s*"(cells|nbformat)',
        _suffixes("ipynb"),
    ),
    ForeignFormat(
        "an index of the files of a model",
        JOIN_SAFETENSORS,
        rb'\s*\{.*"weight_map".*\.safetensors"',
    ),
    ForeignFormat("an index of the files of a model", JOIN_TORCH, rb'\s*\{.*"weight_map"'),
    ForeignFormat(
        "a message in JSON, such as a server's error",
        _ITSELF,
        rb'\s*\{\s*"(message|errors?|detail|code|status|success)"',
    ),
    ForeignFormat(
        "text in JSON, such as a configuration",
        "give the file of weights (class names go to --labels, a spec to --spec)",
        rb'\s*[\[{][\s"\[{\]}]',
    ),
    ForeignFormat(
        "a message in XML, such as a storage service's error",
        _ITSELF,
        rb"\s*<\?xml",
    ),
    ForeignFormat("a web page", _ITSELF, rb"\s*<"),
    ForeignFormat(
        "text in base64",
        "decode it: base64 -d FILE > model.pth",
        rb"[A-Za-z0-9+/\r\n]{512}|-----BEGIN",
    ),
    ForeignFormat(
        "Python code",
        "if it makes the network, give its weights with --module FILE:FACTORY --weights CHECKPOINT "
        "--trust-code",
        names=_suffixes("py"),
    ),
    ForeignFormat(
        "a configuration of the training",
        "give the file of weights that the training saved",
        names=_suffixes("ya?ml", "toml", "cfg", "ini", "conf", "prototxt"),
    ),
    # Archives, results and data.
    ForeignFormat("an empty zip archive", "pack or download it again", rb"PK\x05\x06"),
    *(
        ForeignFormat(f"{archive} archive", _UNPACK, magic)
        for magic, archive in (
            (rb"\x1f\x8b", "a gzip"),
            (rb"BZh", "a bzip2"),
            (rb"\xfd7zXZ\0", "an xz"),
            (rb"\x28\xb5\x2f\xfd", "a zstd"),
            (rb"\x04\x22\x4d\x18", "an lz4"),
            (rb"7z\xbc\xaf\x27\x1c", "a 7z"),
            (rb"Rar!", "a RAR"),
            (rb".{257}ustar", "a tar"),
        )
    ),
    ForeignFormat(
        "a picture",
        _MODEL_FIRST,
        rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\0{4}|II\*\0|MM\0\*"
        rb"|.{4}ftyp(avif|heic|mif1)",
    ),
    ForeignFormat("a sound", _MODEL_FIRST, rb"RIFF.{4}WAVE|ID3[\x02-\x04]|fLaC"),
    ForeignFormat(
        "a video",
        _MODEL_FIRST,
        rb".{4}ftyp|RIFF|\x1a\x45\xdf\xa3|FLV\x01|OggS|\0\0\x01\xba|(\x47.{187}){2}\x47|\x30\x26\xb2\x75",
    ),
    ForeignFormat(
        "a log of TensorBoard's",
        "give the file of weights that the training saved",
        rb".{12,40}brain\.Event:",
        r"events\.out\.tfevents\..*",
    ),
    ForeignFormat("one array of NumPy's", "save all weights by name (.safetensors)", rb"\x93NUMPY"),
    ForeignFormat("a document in PDF", "give the file of weights", rb"%PDF"),
    ForeignFormat("a database", "give the file of weights", rb"SQLite format 3\0|PAR1|ARROW1"),
    ForeignFormat(
        "a program or a library of compiled code",
        _MADE_FROM,
        rb"\x7fELF|MZ.{62}|[\xce\xcf]\xfa\xed\xfe|!<arch>\n",
        _suffixes("so", "dll", "dylib", "exe"),
    ),
    ForeignFormat("a row of zeros, as an interrupted copy leaves it", "copy it again", rb"\0+\Z"),
    ForeignFormat(
        "weights without names, as OpenVINO and ncnn keep them beside a model",
        _MADE_FROM,
        names=_suffixes("bin"),
    ),
)
