"""The other side of benchmarks/peer.py: runs in an environment that has `fer` and knows nothing of affectlens.

Lines in: "face N", "pipeline N" (N timed calls after one that is not), "answers". Lines out: JSON.
"""

import json
import os
import sys
import time

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
LABELS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]


def main(file: str) -> None:
    import numpy as np
    import tensorflow as tf
    from fer.fer import FER

    given = np.load(file)
    threads = int(given["threads"])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    peer = FER()
    print(json.dumps({"tensorflow": tf.__version__}), flush=True)
    side = peer._FER__emotion_target_size[0]
    frame = given["frame_bgr"]
    left, top, right, bottom = np.rint(given["box_xyxy"]).astype(int).tolist()
    box = [left, top, right - left, bottom - top]

    calls = {
        "face": lambda: peer.detect_emotions(frame, face_rectangles=[box]),
        "pipeline": lambda: peer.detect_emotions(frame),
    }
    for line in sys.stdin:
        what, *count = line.split()
        if what == "answers":
            print(json.dumps(answers(peer, given["faces"], side)), flush=True)
            continue
        calls[what]()
        times = []
        for _ in range(int(count[0])):
            start = time.perf_counter()
            calls[what]()
            times.append(time.perf_counter() - start)
        print(json.dumps(1000 * float(np.median(times))), flush=True)


def answers(peer, faces, side):
    """Labels of (N, H, W) gray faces, prepared as the peer prepares a face that it has cut out."""
    import cv2
    import numpy as np

    found = []
    for start in range(0, len(faces), 256):
        batch = np.stack([cv2.resize(face, (side, side)) for face in faces[start : start + 256]])
        scores = np.asarray(peer._classify_emotions(((batch / 255.0 - 0.5) * 2.0).astype(np.float32)))
        found += [LABELS[best] for best in scores.argmax(axis=1)]
    return found


if __name__ == "__main__":
    main(sys.argv[1])
