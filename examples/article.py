# %% [markdown]
"""How a picture becomes an emotion, step by step, after the article that this project began with.

Runs as a script, ``python examples/article.py [PICTURE] [FOLDER]``, and cell by cell in an editor that knows ``# %%``
(VS Code, Spyder, PyCharm, Jupytext). Without a picture it takes scikit-image's photo of Eileen Collins (NASA, public
domain): ``pip install '.[demo]'``. The pictures that it makes go into the folder, ``out/article`` if none is
given.
"""

# %% 1. A picture
import sys
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from edge import EmotionAnalyzer

source = sys.argv[1] if len(sys.argv) > 1 else str(files("skimage.data").joinpath("astronaut.png"))
folder = Path(sys.argv[2] if len(sys.argv) > 2 else "out/article")
folder.mkdir(parents=True, exist_ok=True)
analyzer = EmotionAnalyzer()
picture = analyzer.annotate(source, [])  # without faces: the picture as it is, blue, green, red
print(f"1. {source}: {picture.shape[1]} x {picture.shape[0]} pixels")

# %% 2. The face
# A histogram of oriented gradients (dlib) is compared with that of faces, at every place and size.
faces = analyzer.analyze(picture)
if not faces:
    sys.exit("nobody is in this picture")
face = faces[0]
x, y, width, height = face.box
print(f"2. {len(faces)} face; the largest is {width} x {height} pixels at {x}, {y}")
step = picture.copy()
cv2.rectangle(step, (x, y), (x + width, y + height), (60, 200, 250), 2)
cv2.imwrite(str(folder / "2-face.png"), step)

# %% 3. The landmarks
# 68 points in the order of the iBUG 300-W data set, found by an ensemble of regression trees.
for px, py in face.landmarks:
    cv2.circle(step, (round(float(px)), round(float(py))), 1, (120, 230, 120), -1)
cv2.imwrite(str(folder / "3-landmarks.png"), step)
print(f"3. {len(face.landmarks)} landmarks; the tip of the nose is at {face.landmarks[30].round().tolist()}")

# %% 4. The regions
# What the points belong to. The mouth and the brows say most about an emotion.
REGIONS = {
    "jaw": (0, 17), "left brow": (17, 22), "right brow": (22, 27), "nose": (27, 36), "left eye": (36, 42),
    "right eye": (42, 48), "mouth": (48, 68),
}  # fmt: skip
scale = 6
left, top = max(0, x - width // 4), max(0, y - height // 4)
close_up = cv2.resize(picture[top : y + 2 * height, left : x + 2 * width], None, fx=scale, fy=scale)
for number, (name, (first, end)) in enumerate(REGIONS.items()):
    points = ((face.landmarks[first:end] - (left, top)) * scale).round().astype(np.int32)
    shade = int(255 * number / len(REGIONS))
    colour = cv2.applyColorMap(np.full((1, 1), shade, np.uint8), cv2.COLORMAP_HSV)[0, 0].tolist()
    cv2.polylines(close_up, [points.reshape(-1, 1, 2)], "eye" in name, colour, 2, cv2.LINE_AA)
    label = (int(points[:, 0].max()) + 4, int(points[:, 1].mean()))
    cv2.putText(close_up, name, label, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
cv2.imwrite(str(folder / "4-regions.png"), close_up)
print(f"4. {len(REGIONS)} regions: {', '.join(REGIONS)}")

# %% 5. The distances
# Euclidean distances between landmarks, divided by the face's size: they are the same for a near and a far face. The
# k-nearest-neighbour classifier (`classifier="knn"`) looks at these 1,326: between chin, brows, nose, eyes and mouth.
inner = face.landmarks[[8, *range(17, 68)]]
distances = np.array([np.linalg.norm(a - b) for a, b in combinations(inner, 2)])
distances /= np.sqrt((distances**2).mean())
mouth = face.landmarks[48:68]
opened = float(np.linalg.norm(mouth[14] - mouth[18]) / np.linalg.norm(mouth[0] - mouth[6]))
print(f"5. {len(distances)} distances, from {distances.min():.2f} to {distances.max():.2f} of their root mean square")
print(f"   the lips are open by {opened:.0%} of the mouth's width")

# %% 6. The scores
# The network sees the face alone, 48 x 48 pixels, turned upright, eyes and mouth always at the same place.
for emotion, score in sorted(face.scores.items(), key=lambda item: -item[1]):
    print(f"6. {emotion:9} {score:6.1%} {'#' * round(40 * score)}")
cv2.imwrite(str(folder / "6-scores.png"), analyzer.annotate(picture, faces))
print(f"   the pictures are in {folder}")
