// A trained model as a folder that Hugging Face `transformers` opens: config, weights, tokenizer,
// template, image settings, generation settings.
#pragma once
#include <memory>
#include <string>

#include "vlm/processor.h"
#include "vlm/vlm.h"

namespace ocellus {

/// LoadedVlm — everything needed to answer: weights, template (with tokenizer) and image settings.
struct LoadedVlm {
  std::unique_ptr<Vlm> model;
  std::unique_ptr<ChatTemplate> chat;
  ImageProcessor processor;
};

/// save_model_folder — writes all files, each atomically; the weights last.
void save_model_folder(const std::string& folder, Vlm& model, const ChatTemplate& chat,
                       const ImageProcessor& processor);

/// load_model_folder — FormatError naming the file for anything missing or damaged. Prompts are made by
/// the folder's chat template.
LoadedVlm load_model_folder(const std::string& folder, DType dtype = DType::kF32);

}  // namespace ocellus
