"""Runs a SavedModel through TensorFlow's C API, without TensorFlow's Python.

Reads one JSON object from standard input:

    {"library_directory": where libtensorflow_cc.so.2 lies,
     "saved_model": directory,
     "runs": [{"feeds": {tensor: {"dtype", "shape", "data"}},
               "fetches": [tensor, ...]}, ...]}

and writes one to standard output: for each run a list of
`{"dtype", "shape", "data"}`, and the TensorFlow modules that were imported.
`data` is the hexadecimal bytes of a tensor; of a string, of its one element.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

TF_FLOAT, TF_STRING, TF_INT64 = 1, 7, 9
DTYPES = {"float32": TF_FLOAT, "int64": TF_INT64, "string": TF_STRING}
NAMES = {number: name for name, number in DTYPES.items()}
ITEM_BYTES = {TF_FLOAT: 4, TF_STRING: 24, TF_INT64: 8}
STRING_BYTES = ITEM_BYTES[TF_STRING]

POINTERS = (
    "TF_NewStatus TF_NewSessionOptions TF_NewGraph TF_Message "
    "TF_LoadSessionFromSavedModel TF_GraphOperationByName TF_AllocateTensor "
    "TF_TensorData TF_StringGetDataPointer"
).split()
SIZES = "TF_TensorByteSize TF_Dim TF_StringGetSize".split()


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Session:
    """A SavedModel that was loaded by `TF_LoadSessionFromSavedModel`."""

    def __init__(self, library_directory, saved_model):
        for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2"):
            self.tf = ctypes.CDLL(
                os.path.join(library_directory, name), ctypes.RTLD_GLOBAL
            )
        for name in POINTERS:
            getattr(self.tf, name).restype = ctypes.c_void_p
        for name in SIZES:
            getattr(self.tf, name).restype = ctypes.c_size_t
        self.status = ctypes.c_void_p(self.tf.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.tf.TF_NewGraph())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self.session = ctypes.c_void_p(
            self.tf.TF_LoadSessionFromSavedModel(
                ctypes.c_void_p(self.tf.TF_NewSessionOptions()),
                None,
                saved_model.encode(),
                tags,
                1,
                self.graph,
                None,
                self.status,
            )
        )
        self.check("TF_LoadSessionFromSavedModel")

    def check(self, what):
        if self.tf.TF_GetCode(self.status):
            message = ctypes.string_at(self.tf.TF_Message(self.status))
            raise SystemExit(f"{what}: {message.decode()}")

    def output(self, tensor):
        name, _, index = tensor.partition(":")
        operation = self.tf.TF_GraphOperationByName(self.graph, name.encode())
        if not operation:
            raise SystemExit(f"There is no operation {name!r} in the graph.")
        return Output(operation, int(index))

    def make_tensor(self, dtype, shape, data):
        number = DTYPES[dtype]
        count = 1
        for size in shape:
            count *= size
        tensor = self.tf.TF_AllocateTensor(
            number,
            (ctypes.c_int64 * len(shape))(*shape),
            len(shape),
            ctypes.c_size_t(count * ITEM_BYTES[number]),
        )
        content = bytes.fromhex(data)
        place = ctypes.c_void_p(self.tf.TF_TensorData(ctypes.c_void_p(tensor)))
        if number == TF_STRING:
            self.tf.TF_StringInit(place)
            self.tf.TF_StringCopy(place, content, ctypes.c_size_t(len(content)))
        else:
            ctypes.memmove(place, content, len(content))
        return tensor

    def read_tensor(self, tensor):
        tensor = ctypes.c_void_p(tensor)
        number = self.tf.TF_TensorType(tensor)
        rank = self.tf.TF_NumDims(tensor)
        place = ctypes.c_void_p(self.tf.TF_TensorData(tensor))
        size = self.tf.TF_TensorByteSize(tensor)
        if number == TF_STRING:
            size = self.tf.TF_StringGetSize(place)
            place = ctypes.c_void_p(self.tf.TF_StringGetDataPointer(place))
        data = ctypes.string_at(place, size).hex() if size else ""
        shape = [self.tf.TF_Dim(tensor, axis) for axis in range(rank)]
        return {"dtype": NAMES[number], "shape": shape, "data": data}

    def run(self, feeds, fetches):
        inputs = [self.output(name) for name in feeds]
        outputs = [self.output(name) for name in fetches]
        values = (ctypes.c_void_p * len(feeds))(
            *(self.make_tensor(**value) for value in feeds.values())
        )
        results = (ctypes.c_void_p * len(fetches))()
        self.tf.TF_SessionRun(
            self.session,
            None,
            (Output * len(inputs))(*inputs),
            values,
            len(inputs),
            (Output * len(outputs))(*outputs),
            results,
            len(outputs),
            None,
            0,
            None,
            self.status,
        )
        self.check("TF_SessionRun")
        read = [self.read_tensor(result) for result in results]
        for tensor in [*values, *results]:
            self.tf.TF_DeleteTensor(ctypes.c_void_p(tensor))
        return read

    def close(self):
        self.tf.TF_CloseSession(self.session, self.status)
        self.check("TF_CloseSession")
        self.tf.TF_DeleteSession(self.session, self.status)
        self.check("TF_DeleteSession")


def main():
    """Loads, runs and prints."""
    job = json.load(sys.stdin)
    session = Session(job["library_directory"], job["saved_model"])
    results = [session.run(run["feeds"], run["fetches"]) for run in job["runs"]]
    session.close()
    imported = [
        name
        for name in sys.modules
        if name.partition(".")[0] in ("tensorflow", "monolith_tf", "numpy")
    ]
    json.dump({"results": results, "imported": imported}, sys.stdout)


if __name__ == "__main__":
    main()
