"""Events as video files: cut out of their videos, on one sheet of pictures, in a playlist."""
