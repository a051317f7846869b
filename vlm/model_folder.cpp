#include "vlm/model_folder.h"

#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "nn/checkpoint_file.h"

namespace ocellus {

void save_model_folder(const std::string& folder, Vlm& model, const ChatTemplate& chat,
                       const ImageProcessor& processor) {
  make_folders(folder);
  const Tokenizer& tokenizer = chat.tokenizer();
  nlohmann::json names = nlohmann::json::array();
  for (const std::string& name : kSpecialTokens) names.push_back(name);
  const nlohmann::json tokenizer_config = {
      {"tokenizer_class", "PreTrainedTokenizerFast"},
      {"pad_token", tokenizer.id_to_token(chat.pad_id())},
      {"eos_token", tokenizer.id_to_token(chat.end_id())},
      {"extra_special_tokens", {{"image_token", tokenizer.id_to_token(chat.image_id())}}},
      {"additional_special_tokens", names},
      {"clean_up_tokenization_spaces", false},
      {"model_max_length", model.config().language.max_position_embeddings}};
  const nlohmann::json generation = {{"eos_token_id", chat.stop_ids().size() == 1 ? nlohmann::json(chat.end_id())
                                                                    : nlohmann::json(chat.stop_ids())},
                                     {"pad_token_id", chat.pad_id()},
                                     {"bad_words_ids", {{chat.image_id()}}},
                                     {"do_sample", false}};
  write_file_atomic(folder + "/config.json", vlm_config_json(model.config()));
  write_file_atomic(folder + "/tokenizer.json", tokenizer.to_json());
  write_file_atomic(folder + "/tokenizer_config.json", chat.tokenizer_config().empty()
                                                           ? tokenizer_config.dump(2) + "\n"
                                                           : chat.tokenizer_config());
  write_file_atomic(folder + "/chat_template.jinja", chat.jinja());
  write_file_atomic(folder + "/preprocessor_config.json", processor.config_json());
  write_file_atomic(folder + "/generation_config.json", chat.generation_config().empty()
                                                            ? generation.dump(2) + "\n"
                                                            : chat.generation_config());
  save_safetensors(folder + "/model.safetensors", vlm_file_tensors(model));
}

LoadedVlm load_model_folder(const std::string& folder, DType dtype) {
  LoadedVlm loaded;
  loaded.model = load_vlm(folder, dtype);
  loaded.processor = ImageProcessor::load(folder);
  const Tokenizer tokenizer = Tokenizer::load(folder + "/tokenizer.json");
  loaded.chat = std::make_unique<ChatTemplate>(
      folder, tokenizer, loaded.model->tokens_per_image(loaded.processor.size));
  check<FormatError>(tokenizer.vocab_size() <= loaded.model->config().language.vocab_size,
                     "{}: the tokenizer has {} tokens, the model an embedding of {}", folder,
                     tokenizer.vocab_size(), loaded.model->config().language.vocab_size);
  return loaded;
}

}  // namespace ocellus
