#include "tools/ocellus/diagram.h"

#include <algorithm>
#include <memory>
#include <sstream>
#include <vector>

#include "vlm/recipe.h"
#include "vlm/stage.h"

namespace ocellus {
namespace {

struct Node {
  std::string name;
  std::vector<std::pair<std::string, Shape>> own;  // parameters
  std::vector<std::unique_ptr<Node>> children;

  Node& child(const std::string& part) {
    for (const auto& node : children)
      if (node->name == part) return *node;
    children.push_back(std::make_unique<Node>());
    children.back()->name = part;
    return *children.back();
  }
  int64_t count() const {
    int64_t n = 0;
    for (const auto& [_, shape] : own) n += shape.numel();
    for (const auto& node : children) n += node->count();
    return n;
  }
  // What two layers must share to be drawn once.
  std::string content() const {
    std::string text;
    for (const auto& [parameter, shape] : own) text += parameter + to_string(shape) + ";";
    for (const auto& node : children) text += node->name + "{" + node->content() + "}";
    return text;
  }
};

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

std::string with_commas(int64_t n) {
  std::string digits = std::to_string(n);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

void draw(const Node& node, std::string label, int depth, std::string& out) {
  const Node* at = &node;
  while (at->own.empty() && at->children.size() == 1 && !is_number(at->children[0]->name)) {
    at = at->children[0].get();  // a chain of single children stands on one line
    label += "." + at->name;
  }
  std::string shapes;
  for (const auto& [parameter, shape] : at->own)
    shapes += (shapes.empty() ? "" : "  ") + parameter + " " + to_string(shape);
  out += fmt::format("{:<42}{:>14}  {}", std::string(static_cast<size_t>(2 * depth), ' ') + label,
                     with_commas(at->count()), shapes);
  out.erase(out.find_last_not_of(' ') + 1);
  out += "\n";
  for (size_t i = 0; i < at->children.size();) {
    size_t end = i + 1;
    const bool layers = is_number(at->children[i]->name);
    while (layers && end < at->children.size() && is_number(at->children[end]->name) &&
           at->children[end]->content() == at->children[i]->content())
      ++end;
    const std::string& first = at->children[i]->name;
    draw(*at->children[i],
         end - i == 1 ? first : fmt::format("{} … {}, each", first, at->children[end - 1]->name),
         depth + 1, out);
    i = end;
  }
}

std::string flow(const VlmConfig& c, int64_t image_tokens) {
  const int64_t side = c.vision.image_size / c.vision.patch_size;
  return fmt::format(
      "pixels [B, 3, {0}, {0}]\n"
      "  │ vision ({1}): patches of {2} × {2}, {3} blocks, {4} heads\n"
      "  ▼ [B, {5}, {6}]\n"
      "  │ connector ({7})\n"
      "  ▼ [B, {8}, {9}]\n"
      "  ├── in the places of the image tokens among the embedded words, ids [B, T]\n"
      "  ▼ [B, T, {9}]\n"
      "  │ language ({10}): {11} blocks, {12} heads, {13} of keys and values{14}\n"
      "  ▼ logits [B, T, {15}]\n\n",
      c.vision.image_size, c.vision.model_type, c.vision.patch_size, c.vision.num_hidden_layers,
      c.vision.num_attention_heads, side * side, c.vision.hidden_size, c.connector.kind,
      image_tokens, c.language.hidden_size, c.language.model_type, c.language.num_hidden_layers,
      c.language.num_attention_heads, c.language.num_key_value_heads,
      c.language.tie_word_embeddings ? ", the head is the word table" : "", c.language.vocab_size);
}

}  // namespace

std::string recipe_diagram(const std::string& path) {
  const Recipe recipe = load_recipe(path);
  const VlmConfig config = recipe.model.from.empty()
                               ? vlm_config_of(recipe, recipe.tokenizer.vocab, 0, 0, 0)
                               : read_vlm_config(recipe.model.from);
  Vlm model(config);
  Node root;
  for (const auto& [name, parameter] : model.parameters()) {
    std::stringstream parts(name);
    Node* at = &root;
    std::string part, next;
    std::getline(parts, part, '.');
    while (std::getline(parts, next, '.')) {
      at = &at->child(part);
      part = next;
    }
    at->own.emplace_back(part, parameter->shape());
  }
  std::string out = flow(config, model.tokens_per_image(config.vision.image_size));
  out += fmt::format("{:<42}{:>14}  parameters\n", "", "elements");
  for (const auto& part : root.children) draw(*part, part->name, 0, out);
  return out + fmt::format("{:<42}{:>14}\n", "in all", with_commas(root.count()));
}

}  // namespace ocellus
