"""The worker: runs models for djr in the user's own Python, with his torch and transformers.

djr sends frames on standard input and reads frames on standard output: four bytes of length,
little endian, then so much JSON. Tensors travel in a file that both map. Pictures come sized, as
bytes, and texts as token ids: no image processor and no tokenizer is ever called here, so what a
model sees does not depend on the version of transformers. What is printed goes to standard error.
"""

import json
import mmap
import os
import select
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Without a buffer: whether a frame is waiting is asked of the system.
INPUT = os.fdopen(os.dup(0), "rb", buffering=0)
OUTPUT = os.fdopen(os.dup(1), "wb")
# Whatever a library prints must not end up between frames.
os.dup2(2, 1)
sys.stdout = sys.stderr


class Refusal(Exception):
    """An answer that is no: a code and what is wrong."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def read(size):
    """So many bytes, fewer where the input ends."""
    parts = []
    while size and (part := INPUT.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame():
    head = read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "little")
    body = read(length)
    return json.loads(body) if len(body) == length else None


def is_waiting(seconds):
    """Whether a frame, or the end, comes within so long."""
    return bool(select.select([INPUT], [], [], seconds)[0])


def write_frame(message):
    body = json.dumps(message).encode()
    OUTPUT.write(len(body).to_bytes(4, "little") + body)
    OUTPUT.flush()


def hello():
    try:
        import torch
    except ImportError as error:
        raise Refusal("no_torch", f"torch cannot be imported: {error}") from error
    try:
        import transformers
    except ImportError as error:
        raise Refusal("no_transformers", f"transformers cannot be imported: {error}") from error
    transformers.logging.set_verbosity_error()
    version = numbers_of(transformers.__version__)
    if version < (4, 40):
        raise Refusal("no_transformers", f"transformers {transformers.__version__} is older than 4.40")
    devices = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            devices.append({"name": f"cuda:{number}", "title": about.name, "memory": about.total_memory})
    devices.append({"name": "cpu", "title": "CPU", "memory": 0})
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "devices": devices,
    }


def numbers_of(version):
    parts = (version.split("+")[0].split(".") + ["0", "0"])[:2]
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in parts)


def from_pretrained(cls, folder, may_lack=()):
    """The model of a folder in 32-bit floats; weights that are not there are an error, where
    transformers would make them up."""
    import torch
    import transformers

    name = "dtype" if numbers_of(transformers.__version__) >= (4, 56) else "torch_dtype"
    model, info = cls.from_pretrained(
        folder, local_files_only=True, output_loading_info=True, **{name: torch.float32}
    )
    lacks = [key for key in info.get("missing_keys", []) if not key.startswith(tuple(may_lack))]
    lacks += [str(key) for key in info.get("mismatched_keys", [])]
    if lacks:
        raise Refusal("model", f"the weights lack {', '.join(sorted(map(str, lacks))[:5])}")
    return model.float()


def pooled(output):
    return output.pooler_output


def batched(table, pixels, dtype):
    """What the bytes of pictures become: channels first, each shade looked up in 32 bits."""
    import torch

    index = pixels.permute(0, 3, 1, 2).long()
    index += 256 * torch.arange(3, device=pixels.device).view(1, 3, 1, 1)
    return table[index].to(dtype)


class Clip:
    def __init__(self, folder, options):
        from transformers import CLIPModel

        self.model = from_pretrained(CLIPModel, folder)
        # In 32 bits, whatever the model computes in.
        self.scale = self.model.logit_scale.detach().exp()

    def image(self, pixels):
        return self.model.visual_projection(pooled(self.model.vision_model(pixel_values=pixels)))

    def text(self, ids):
        """The features, and behind them what scores are multiplied by. Places behind the end of a
        text change nothing: attention is causal, and the features are those of the end."""
        import torch

        features = self.model.text_projection(pooled(self.model.text_model(input_ids=ids))).float()
        scale = self.scale.to(features.device).expand(features.shape[0], 1)
        return torch.cat([features, scale], dim=1)


class Vit:
    def __init__(self, folder, options):
        from transformers import ViTForImageClassification

        self.model = from_pretrained(ViTForImageClassification, folder)

    def image(self, pixels):
        return self.model(pixel_values=pixels).logits


class BlipItm:
    def __init__(self, folder, options):
        from transformers import BlipForImageTextRetrieval

        self.model = from_pretrained(BlipForImageTextRetrieval, folder)

    def match(self, pixels, ids, mask):
        return self.model(input_ids=ids, attention_mask=mask, pixel_values=pixels).itm_score


class Aesthetics:
    """The classes of simple-aesthetics-predictor, which the user need not have."""

    def __init__(self, folder, options):
        import torch
        from transformers import CLIPVisionModelWithProjection

        kind = options["head"]
        widths = [1024, 128, 64, 16, 1]

        class Predictor(CLIPVisionModelWithProjection):
            def __init__(self, config):
                super().__init__(config)
                width = config.projection_dim
                if kind == "v1":
                    self.predictor = torch.nn.Linear(width, 1)
                else:
                    layers = []
                    for number, wide in enumerate(widths):
                        layers.append(torch.nn.Linear(width, wide))
                        width = wide
                        if number == 4:
                            break
                        # As saved: behind the first three lie a dropout or a ReLU and a dropout.
                        if kind == "v2_relu":
                            layers.append(torch.nn.ReLU())
                        if number < 3:
                            layers.append(torch.nn.Dropout())
                    self.layers = torch.nn.Sequential(*layers)
                self.post_init()

        self.model = from_pretrained(Predictor, folder)

    def image(self, pixels):
        model = self.model
        features = model.visual_projection(pooled(model.vision_model(pixel_values=pixels)))
        features = features / features.norm(dim=-1, keepdim=True)
        return model.predictor(features) if hasattr(model, "predictor") else model.layers(features)


class OwlVit:
    def __init__(self, folder, options):
        from transformers import OwlViTForObjectDetection

        self.model = from_pretrained(OwlViTForObjectDetection, folder)

    def detect(self, pixels, ids, mask):
        """Logits of every phrase for every box, then the boxes. A phrase of zeros is none."""
        import torch

        rows = ids.shape[0]
        ids, mask = ids.flatten(0, 1), mask.flatten(0, 1)
        output = self.model(input_ids=ids, attention_mask=mask, pixel_values=pixels)
        logits = output.logits.float().reshape(rows, -1)
        return torch.cat([logits, output.pred_boxes.float().reshape(rows, -1)], dim=1)


class TextEmbedding:
    def __init__(self, folder, options):
        from transformers import AutoModel

        self.pooling = options.get("pooling")
        self.model = from_pretrained(AutoModel, folder, may_lack=["pooler."])

    def embed(self, ids, mask):
        import torch

        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        length = mask.sum(dim=1)
        if self.pooling == "mean":
            weight = mask.to(hidden.dtype)
        elif self.pooling == "weighted_mean":
            place = torch.arange(1, mask.shape[1] + 1, device=mask.device)
            weight = (place * mask).to(hidden.dtype) / length.clamp(min=1).unsqueeze(1)
        else:
            last = (length - 1).clamp(min=0)
            found = hidden[torch.arange(hidden.shape[0], device=hidden.device), last]
            return torch.nn.functional.normalize(found, p=2, dim=1)
        found = (hidden * weight.unsqueeze(-1)).sum(dim=1) / length.clamp(min=1).unsqueeze(1)
        return torch.nn.functional.normalize(found, p=2, dim=1)


class Blip2:
    """Captions by sampling. Each row draws with a generator of its own, so that a caption does not
    depend on the rows that share its batch: the token whose logit and Gumbel noise add up to the
    most is a draw from the softmax of the logits."""

    def __init__(self, folder, options):
        from transformers import Blip2ForConditionalGeneration

        self.model = from_pretrained(Blip2ForConditionalGeneration, folder)
        self.model.config.image_token_index = options["image_token"]
        self.tokens = options["max_new_tokens"]
        self.repeats_prompt = options["repeats_prompt"]
        # Words are drawn by what the language model's configuration says, as transformers draws them.
        given = self.model.language_model.generation_config
        usual = {"num_beams": 1, "min_p": None, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0}
        for name, value in usual.items():
            if getattr(given, name, value) not in (value, None):
                raise Refusal("model", f"captions cannot be drawn with {name}: {getattr(given, name)}")
        self.temperature = given.temperature or 1.0
        self.top_k = 50 if given.top_k is None else given.top_k
        self.top_p = given.top_p or 1.0

    def caption(self, pixels, ids, mask, seed, count):
        """The token ids of each row's caption, as text; of a model that only decodes, those that
        it was given before them. Texts are filled up on their left."""
        import torch
        from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        # Rows that are none repeat the first, so that no row is without a picture's place.
        ids[count:], mask[count:] = ids[0], mask[0]
        draws = [torch.Generator().manual_seed(number) for number in seed[:count].flatten().tolist()]

        def noise(_, scores):
            drawn = [torch.rand(scores.shape[1], generator=draw, dtype=torch.float64) for draw in draws]
            drawn = torch.stack(drawn).clamp(1e-300, 1 - 1e-16)
            scores = scores.double()
            scores[:count] -= torch.log(-torch.log(drawn)).to(scores.device)
            return scores

        steps = LogitsProcessorList()
        if self.temperature != 1.0:
            steps.append(TemperatureLogitsWarper(self.temperature))
        if self.top_k:
            steps.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1.0:
            steps.append(TopPLogitsWarper(self.top_p))
        steps.append(noise)
        found = self.model.generate(
            pixel_values=pixels, input_ids=ids, attention_mask=mask, max_new_tokens=self.tokens,
            do_sample=False, num_beams=1, temperature=None, top_k=None, top_p=None, logits_processor=steps,
        )
        start = (ids.shape[1] - mask.sum(dim=1)).tolist() if self.repeats_prompt else [0] * count
        return [" ".join(map(str, row[begin:])) for row, begin in zip(found[:count].tolist(), start)]


CLASSES = {
    "CLIPModel": Clip,
    "ViTForImageClassification": Vit,
    "BlipForImageTextRetrieval": BlipItm,
    "AestheticsPredictor": Aesthetics,
    "OwlViTForObjectDetection": OwlVit,
    "TextEmbedding": TextEmbedding,
    "Blip2ForConditionalGeneration": Blip2,
}


class Later:
    """An answer that a GPU is still computing."""

    def __init__(self, found, place):
        import torch

        # Kept until it is copied.
        self.found = found
        torch.from_numpy(place).copy_(found, non_blocking=True)
        self.event = torch.cuda.Event()
        self.event.record()

    def has_ended(self):
        try:
            return self.event.query()
        except RuntimeError:
            # It is told of by `finish`.
            return True

    def finish(self):
        self.event.synchronize()
        return {}


class Loaded:
    """A model on its device, and where its tensors lie."""

    def __init__(self, load):
        import numpy
        import torch

        self.cuda = load["device"].startswith("cuda")
        self.device = torch.device(load["device"])
        set_precision(load["dtype"])
        if not self.cuda:
            torch.set_num_threads(load.get("threads", 1))
        made = CLASSES.get(load["class"])
        if made is None:
            raise Refusal("model", f"no class {load['class']}")
        options = load.get("options") or {}
        self.runner = made(load["dir"], options)
        self.dtype = torch.float16 if load["dtype"] == "fp16" else torch.float32
        self.runner.model.to(device=self.device, dtype=self.dtype).eval()
        self.heads = {head["name"]: head for head in load["heads"]}
        table = options.get("table")
        self.table = table and torch.tensor(table, dtype=torch.float32, device=self.device).flatten()
        self.slot_bytes = load["slot_bytes"]
        file = os.open(load["shm"], os.O_RDWR)
        in_memory = os.path.realpath(load["shm"]).startswith("/dev/shm/")
        try:
            self.shared = numpy.frombuffer(mmap.mmap(file, load["bytes"]), dtype=numpy.uint8)
        finally:
            os.close(file)
        # Registered memory goes to the device without another copy; a file on a disk cannot be.
        self.pinned = self.cuda and in_memory and not int(
            torch.cuda.cudart().cudaHostRegister(self.shared.ctypes.data, load["bytes"], 0)
        )
        if self.cuda and not self.pinned:
            try:
                # The driver tells of what failed once more, to whoever asks it next.
                torch.zeros(1, device=self.device)
            except RuntimeError:
                pass

    def close(self):
        import torch

        if self.pinned:
            torch.cuda.cudart().cudaHostUnregister(self.shared.ctypes.data)

    def place(self, slot, about, batch, dtype):
        """The tensor of a whole batch, in the shared file."""
        import numpy

        shape = (batch, *about["shape"])
        start = about["offset"] + slot * self.slot_bytes
        size = numpy.prod(shape, dtype=numpy.int64) * numpy.dtype(dtype).itemsize
        return self.shared[start : start + size].view(dtype).reshape(shape)

    def inputs(self, head, slot):
        import torch

        kinds = {"u8": "uint8", "i32": "int32", "i64": "int64", "f32": "float32"}
        found = {}
        for about in head["inputs"]:
            data = torch.from_numpy(self.place(slot, about, head["batch"], kinds[about["dtype"]]))
            if self.cuda:
                data = data if self.pinned else data.pin_memory()
                data = data.to(self.device, non_blocking=True)
            if about["name"] == "pixels":
                data = (data, "pixels")
            elif about["dtype"] == "i32":
                data = data.long()
            found[about["name"]] = data
        return found

    def call(self, head, inputs, rows, count):
        """Runs the rows of a slice."""
        given = {}
        for name, data in inputs.items():
            if isinstance(data, tuple):
                given[name] = batched(self.table, data[0][rows], self.dtype)
            else:
                given[name] = data[rows]
        # Heads of one kind differ in the lengths of their inputs: `embed_128` is an `embed`.
        function = getattr(self.runner, head["name"].split("_")[0])
        if head["output"] is None:
            return function(count=count, **given)
        return function(**given)

    def run(self, name, slot, count):
        import torch

        head = self.heads[name]
        inputs = self.inputs(head, slot)
        with torch.inference_mode():
            if self.cuda:
                found = self.call(head, inputs, slice(None), count)
            else:
                # One row at a time: on processors other rows of a batch would show in last digits.
                parts = [self.call(head, inputs, slice(row, row + 1), 1) for row in range(count)]
                found = sum(parts, []) if head["output"] is None else torch.cat(parts)
            if head["output"] is None:
                return {"texts": found}
            out = self.place(slot, head["output"], head["batch"], "float32")[: found.shape[0]]
            found = found.float().reshape(out.shape)
            if self.cuda:
                return Later(found, out)
            out[:] = found.numpy()
        return {}


class Vectors:
    """Blocks of vectors on a device, and who among them may be near or far: sums are taken in 32 bits,
    in whatever order the device likes, and djr looks again at those that are told."""

    # Rows of a tile: its products are in memory at a time.
    TILE = 8192

    def __init__(self, message):
        import numpy
        import torch

        set_precision("fp32")
        self.device = torch.device(message["device"])
        file = os.open(message["shm"], os.O_RDWR)
        try:
            self.shared = numpy.frombuffer(mmap.mmap(file, message["bytes"]), dtype=numpy.uint8)
        finally:
            os.close(file)
        self.blocks = {}
        self.nearest = None

    def place(self, block, rows, dims, at, count):
        import torch

        if at == 0:
            self.blocks.pop(block, None)
            self.blocks[block] = torch.empty((rows, dims), dtype=torch.float32, device=self.device)
        given = self.shared[: 4 * count * dims].view("float32").reshape(count, dims)
        self.blocks[block][at : at + count] = torch.from_numpy(given).to(self.device)

    def tell(self, numbers, at=0):
        """Writes whole numbers behind the first `at` that are there."""
        told = numbers.flatten().int().cpu().numpy()
        self.shared.view("int32")[at : at + told.size] = told

    def near(self, a, b, least, tile):
        """The pairs of tiles from number `tile` on, as many tiles as there is room for pairs of; a
        tile with more pairs than that is told as such."""
        import torch

        one, other, room, found = self.blocks[a], self.blocks[b], self.shared.size // 8, 0
        across = -(-other.shape[0] // self.TILE)
        tiles = across * -(-one.shape[0] // self.TILE)
        while tile < tiles:
            row, column = tile // across * self.TILE, tile % across * self.TILE
            if a == b and column < row:
                tile += 1
                continue
            products = one[row : row + self.TILE] @ other[column : column + self.TILE].T
            are_near = products >= least
            if a == b and column == row:
                are_near = are_near.triu(1)
            count = int(are_near.sum())
            if found + count > room and found:
                return {"count": found, "dense": None, "next": tile}
            tile += 1
            if count > room:
                height, width = products.shape
                dense = [row, row + height, column, column + width]
                return {"count": 0, "dense": dense, "next": tile if tile < tiles else None}
            if count:
                place = torch.tensor([row, column], device=self.device)
                self.tell(are_near.nonzero() + place, 2 * found)
                found += count
        return {"count": found, "dense": None, "next": None}

    def far(self, block, take, count, slack, afresh):
        """Takes a row, and the next ones while no other is within `slack` of the farthest."""
        import torch

        rows = self.blocks[block]
        if afresh:
            # No row without a vector is told, nor one that is taken.
            has_none = ~rows.any(dim=1)
            self.nearest = torch.full((rows.shape[0],), -torch.inf, device=self.device)
            self.nearest[has_none] = torch.inf
        taken, candidates = [take], []
        while True:
            torch.maximum(self.nearest, torch.mv(rows, rows[taken[-1]]), out=self.nearest)
            self.nearest[taken[-1]] = torch.inf
            least = self.nearest.min()
            if len(taken) >= count or torch.isinf(least):
                break
            candidates = (self.nearest <= least + slack).nonzero().flatten()
            if candidates.shape[0] > 1:
                break
            taken.append(int(candidates[0]))
            candidates = []
        self.tell(torch.tensor(taken))
        if len(candidates):
            self.tell(candidates, len(taken))
        return {"taken": len(taken), "candidates": len(candidates)}


def set_precision(dtype):
    import torch

    fast = dtype == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cudnn.benchmark = False
    # Products on one stream in one shape are the same each time; what would make sure of more costs
    # a fifth of the rate (measured: benches/RESULTS.md).
    torch.backends.cudnn.deterministic = True


MODELS = {}


def answer(message):
    op = message["op"]
    if op == "hello":
        return hello()
    if op == "load":
        if before := MODELS.pop(message["model"], None):
            before.close()
        loaded = Loaded(message)
        MODELS[message["model"]] = loaded
        return {"outputs": {name: (head["output"] or {}).get("shape") for name, head in loaded.heads.items()}}
    if op == "run":
        return MODELS[message["model"]].run(message["head"], message["slot"], message["count"])
    if op == "vectors":
        MODELS[op] = Vectors(message)
        return {}
    if op in ("place", "near", "far"):
        import torch

        given = {name: value for name, value in message.items() if name != "op"}
        with torch.inference_mode():
            return getattr(MODELS["vectors"], op)(**given) or {}
    raise Refusal("error", f"no operation {op}")


def refusal(error, op):
    """An error as an answer. What is not known of a model is said where it is loaded."""
    if isinstance(error, Refusal):
        return error.code
    # By name: torch may be what could not be imported.
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower():
        return "oom"
    return "model" if op == "load" else "error"


def reply_to(message, work):
    """What `work` answers to a message, or that it could not; or what will answer it later."""
    try:
        done = work()
        if isinstance(done, Later):
            return done
        reply = {"ok": True, **done}
    except Exception as error:
        if not isinstance(error, Refusal):
            import traceback

            traceback.print_exc()
        text = " ".join(str(error).split())[:500] or type(error).__name__
        reply = {"ok": False, "code": refusal(error, message["op"]), "message": text}
    if "seq" in message:
        reply["seq"] = message["seq"]
    return reply


def main():
    # A message and what will answer it: a GPU is given the next batch before this one has ended, so
    # that it never waits. Answers come in the order of messages.
    computed = None

    def tell():
        nonlocal computed
        if computed:
            message, later = computed
            write_frame(reply_to(message, later.finish))
            computed = None

    while True:
        if computed and not is_waiting(0.001):
            if computed[1].has_ended():
                tell()
            continue
        message = read_frame()
        if message is None or message["op"] == "bye":
            return tell()
        if message["op"] != "run":
            tell()
        reply = reply_to(message, lambda: answer(message))
        tell()
        if isinstance(reply, Later):
            computed = (message, reply)
        else:
            write_frame(reply)


main()
