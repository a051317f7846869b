// How classes of image processors arrange pictures: one function each. image_processor.cpp has the
// table of classes.
#pragma once
#include "vlm/image_processor.h"

namespace ocellus {

/// One tensor row per picture: resize, centre crop.  ViT, CLIP, SigLIP, BLIP, Idefics 1, …
ProcessedImages arrange_plain(const ImageProcessorConfig&, const ImageBatch&, DType);
/// Below a short edge of 384: resize to it / crop_pct and crop; else squeezed to a square.
/// ConvNeXt.
ProcessedImages arrange_crop_pct(const ImageProcessorConfig&, const ImageBatch&, DType);
/// With do_pad the picture is laid on a square of the mean colour first.  LLaVA 1.5.
ProcessedImages arrange_square(const ImageProcessorConfig&, const ImageBatch&, DType);
/// Whole picture and the tiles of the best grid.  LLaVA-NeXT, Liu et al. 2024.
ProcessedImages arrange_anyres(const ImageProcessorConfig&, const ImageBatch&, DType);
/// The same for samples of one picture; pictures of others are padded to squares.
/// LLaVA-OneVision, Li et al. 2024, arXiv:2408.03326.
ProcessedImages arrange_onevision(const ImageProcessorConfig&, const ImageBatch&, DType);
/// Aspect ratio kept; with splitting four quarters and the whole.  Idefics2, Laurençon et al. 2024,
/// arXiv:2405.02246.
ProcessedImages arrange_quarters(const ImageProcessorConfig&, const ImageBatch&, DType);
/// Tiles row by row, then the whole as one tile.  Idefics3, arXiv:2408.12637; SmolVLM,
/// arXiv:2504.05299.
ProcessedImages arrange_tiles(const ImageProcessorConfig&, const ImageBatch&, DType);
/// Sides to multiples of merged patches; patches flattened.  Qwen2-VL, Wang et al. 2024,
/// arXiv:2409.12191.
ProcessedImages arrange_patches(const ImageProcessorConfig&, const ImageBatch&, DType);

}  // namespace ocellus
