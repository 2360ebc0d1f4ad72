"""The logic behind `codeprompt check`: which functions to ask about, and what to do with answers.

Source files are found and left out by the rules of harvesting; a classifying pack gives each
function a probability; findings are those that reach the threshold and are not ignored, known
(baseline) or outside what changed (git).
"""
