"""djr's worker: runs models for djr in the user's own Python."""
import json
import struct
import sys

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
sys.stdout = sys.stderr


def send(reply):
    body = json.dumps(reply).encode()
    stdout.write(struct.pack("<I", len(body)) + body)
    stdout.flush()


def hello():
    try:
        import torch
    except Exception as error:
        return {"ok": False, "code": "no_torch", "message": f"torch cannot be imported: {error}"}
    try:
        import transformers
    except Exception as error:
        message = f"transformers cannot be imported: {error}"
        return {"ok": False, "code": "no_transformers", "message": message}
    devices = [
        {"name": f"cuda:{i}", "title": torch.cuda.get_device_name(i)}
        for i in range(torch.cuda.device_count())
    ]
    devices.append({"name": "cpu", "title": "CPU"})
    return {
        "ok": True,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "devices": devices,
    }


while len(head := stdin.read(4)) == 4:
    message = json.loads(stdin.read(struct.unpack("<I", head)[0]))
    if message["op"] == "bye":
        break
    if message["op"] == "hello":
        send(hello())
    else:
        known = f"this worker has no model of class {message.get('class')}"
        send({"ok": False, "code": "model", "message": known})
