// Carries the precompiled header of this name; the layers reuse it.
