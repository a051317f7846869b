#include "vlm/chat_template.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {

const std::vector<std::string> kSpecialTokens = {"<|pad|>",       "<|system|>", "<|user|>",
                                                 "<|assistant|>", "<|end|>",    "<image>"};

namespace {

using nlohmann::json;

constexpr const char* kOwnTemplate =
    "{%- for message in messages -%}\n"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] -%}\n"
    "{{- raise_exception('role \"' + message['role'] + '\" is not one of system, user, assistant') "
    "-}}\n"
    "{%- endif -%}\n"
    "{{- '<|' + message['role'] + '|>' -}}\n"
    "{%- if message['content'] is string -%}\n"
    "{{- message['content'] -}}\n"
    "{%- else -%}\n"
    "{%- for part in message['content'] -%}\n"
    "{%- if part['type'] == 'image' -%}{{- '<image>' -}}{%- else -%}{{- part['text'] -}}{%- endif "
    "-%}\n"
    "{%- endfor -%}\n"
    "{%- endif -%}\n"
    "{{- '<|end|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}\n";

/// Bytes of the text that belong to one message.
struct Region {
  size_t begin, end;
  size_t message;
};

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\n\r\f\v") == std::string_view::npos;
}

bool shares_a_byte(const TextRange& token, size_t begin, size_t end) {
  return token.begin < end && begin < token.end;
}

/// Ranges that messages and other variables filled, in order and without overlap.
std::vector<TextRange> literal_ranges(const jinja::String& text) {
  std::vector<TextRange> ranges;
  for (const jinja::Mark& mark : text.marks)
    if (mark.origin != jinja::kGeneration && mark.begin < mark.end)
      ranges.push_back({mark.begin, mark.end});
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::vector<TextRange> merged;
  for (const TextRange& range : ranges) {
    if (!merged.empty() && range.begin < merged.back().end)
      merged.back().end = std::max(merged.back().end, range.end);
    else
      merged.push_back(range);
  }
  return merged;
}

/// The messages' stretches of text in order; what the template puts between parts of one message is
/// its.
std::vector<Region> regions_of(std::vector<Region> parts) {
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Region& a, const Region& b) { return a.begin < b.begin; });
  std::vector<Region> regions;
  for (const Region& part : parts) {
    if (!regions.empty() && regions.back().message == part.message)
      regions.back().end = std::max(regions.back().end, part.end);
    else
      regions.push_back(part);
  }
  return regions;
}

/// What is known of each token of the text before image places are widened.
struct Tokens {
  std::vector<int32_t> ids;
  std::vector<TextRange> ranges;
  std::vector<std::string> roles;
  std::vector<Span::Kind> kinds;
};

jinja::Value part_value(const Part& part, size_t message) {
  jinja::Dict dict;
  const bool is_text = part.kind == Part::Kind::kText;
  dict.set(jinja::Value("type"), jinja::Value(is_text ? "text" : "image"));
  if (is_text) {
    jinja::String text(part.text);
    text.marks.push_back({0, text.text.size(), static_cast<int32_t>(message)});
    dict.set(jinja::Value("text"), jinja::Value(std::move(text)));
  }
  return jinja::Value::dict(std::move(dict));
}

/// The value with every string in it marked as the message's.
jinja::Value marked(const jinja::Value& value, int32_t message) {
  if (value.is_string()) {
    jinja::String text(value.string().text);
    text.marks.push_back({0, text.text.size(), message});
    return jinja::Value(std::move(text));
  }
  if (value.is(jinja::Value::Kind::kList)) {
    std::vector<jinja::Value> items;
    for (const jinja::Value& item : value.items()) items.push_back(marked(item, message));
    return jinja::Value::list(std::move(items));
  }
  if (!value.is(jinja::Value::Kind::kDict)) return value;
  jinja::Dict dict;
  for (const auto& [key, item] : value.entries().entries) dict.set(key, marked(item, message));
  return jinja::Value::dict(std::move(dict));
}

jinja::Value message_value(const Message& message, size_t number, bool as_parts) {
  std::vector<jinja::Value> parts;
  for (const Part& part : message.parts) parts.push_back(part_value(part, number));
  const bool single_text = message.parts.size() == 1 && message.parts[0].kind == Part::Kind::kText;
  jinja::Dict dict;
  dict.set(jinja::Value("role"), jinja::Value(message.role));
  if (!parts.empty() || !calls_tools(message))  // calls come without
    dict.set(jinja::Value("content"), single_text && !as_parts
                                          ? *parts[0].entries().find_name("text")
                                          : jinja::Value::list(std::move(parts)));
  if (!message.more.empty()) {
    const jinja::Value more =
        marked(jinja::from_json(message.more, fmt::format("message {}", number + 1)),
               static_cast<int32_t>(number));
    for (const auto& [key, value] : more.entries().entries) dict.set(key, value);
  }
  return jinja::Value::dict(std::move(dict));
}

}  // namespace

int32_t ChatTemplate::special(const std::string& token) const {
  const auto id = tokenizer_.token_to_id(token);
  check<FormatError>(id.has_value(), "chat template: the tokenizer has no token {}", token);
  return *id;
}

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer, int64_t image_tokens)
    : tokenizer_(tokenizer),
      image_tokens_(image_tokens),
      file_{jinja::Template(kOwnTemplate, "chat template"), {}},
      pad_(special("<|pad|>")),
      end_(special("<|end|>")),
      image_(special("<image>")),
      stops_{end_} {}

ChatTemplate::ChatTemplate(const std::string& folder, const Tokenizer& tokenizer,
                           int64_t image_tokens)
    : tokenizer_(tokenizer), image_tokens_(image_tokens), file_(jinja::load_chat_template(folder)) {
  auto named = [&](const char* name) {
    const jinja::Value* token = file_.special_tokens.find_name(name);
    return token ? special(token->string().text) : -1;
  };
  begin_ = named("bos_token");
  end_ = named("eos_token");
  pad_ = named("pad_token");
  const std::string path = folder + "/tokenizer_config.json";
  check<FormatError>(end_ >= 0, "{}: eos_token is missing", path);
  if (pad_ < 0) pad_ = end_;
  if (std::filesystem::is_regular_file(path)) tokenizer_config_ = read_file(path);
  const json config =
      tokenizer_config_.empty() ? json::object() : parse_json(tokenizer_config_, path);
  const json extra = config.value("extra_special_tokens", json::object());
  for (const json* place : {&extra, &config}) {
    if (image_ >= 0 || !place->is_object()) continue;
    const auto found = place->find("image_token");
    if (found != place->end() && found->is_string()) image_ = special(found->get<std::string>());
  }
  find_stops(folder);
  choose_content_form();
}

// The ids that end generation, and of config.json the image place if the tokenizer names none.
void ChatTemplate::find_stops(const std::string& folder) {
  stops_ = {end_};
  const std::string generation = folder + "/generation_config.json";
  if (std::filesystem::is_regular_file(generation)) generation_config_ = read_file(generation);
  for (const char* file : {"/generation_config.json", "/config.json"}) {
    if (!std::filesystem::is_regular_file(folder + file)) continue;
    const json config = load_json(folder + file);
    const json eos = config.value("eos_token_id", json());
    for (const json& id : eos.is_array() ? eos : json::array({eos}))
      if (id.is_number_integer() &&
          std::find(stops_.begin(), stops_.end(), id.get<int64_t>()) == stops_.end())
        stops_.push_back(id.get<int64_t>());
    for (const char* key : {"image_token_id", "image_token_index"})
      if (image_ < 0 && config.contains(key) && config[key].is_number_integer())
        image_ = config[key].get<int32_t>();
  }
}

// Templates for texts alone take a string, those for pictures often only a list of parts: the form
// that keeps what was said is the right one.
void ChatTemplate::choose_content_form() {
  Conversation probe;
  probe.where = "probe";
  probe.messages = {{"user", {{Part::Kind::kText, "a"}}},
                    {"assistant", {{Part::Kind::kText, "b"}}}};
  auto keeps = [&](bool as_parts) {
    content_as_parts_ = as_parts;
    bool seen[2] = {false, false};
    try {
      for (const jinja::Mark& mark : render_text(probe, false).marks)
        if (mark.origin >= 0 && mark.begin < mark.end) seen[mark.origin] = true;
    } catch (const FormatError&) {
    }
    return seen[0] && seen[1];
  };
  if (!keeps(false) && !keeps(true)) content_as_parts_ = false;
}

jinja::String ChatTemplate::render_text(const Conversation& conversation,
                                        bool add_generation_prompt) const {
  std::vector<jinja::Value> messages;
  for (size_t i = 0; i < conversation.messages.size(); ++i)
    messages.push_back(message_value(conversation.messages[i], i, content_as_parts_));
  jinja::Dict record;
  record.set(jinja::Value("messages"), jinja::Value::list(std::move(messages)));
  record.set(jinja::Value("add_generation_prompt"), jinja::Value(add_generation_prompt));
  if (!conversation.tools.empty())
    record.set(jinja::Value("tools"), jinja::from_json(conversation.tools, conversation.where));
  try {
    return file_.render(jinja::Value::dict(std::move(record)), conversation.where);
  } catch (const jinja::TemplateError& error) {
    fail<FormatError>("{}: {}", conversation.where, error.what());
  }
}

namespace {

void check_conversation(const Conversation& conversation) {
  for (const Message& message : conversation.messages)
    for (const Part& part : message.parts)
      check<FormatError>(part.kind != Part::Kind::kVideo, "{}: videos are not supported",
                         conversation.where);
}

/// The message of each image of the conversation.
std::vector<size_t> image_messages(const Conversation& conversation) {
  std::vector<size_t> messages;
  for (size_t i = 0; i < conversation.messages.size(); ++i)
    for (const Part& part : conversation.messages[i].parts)
      if (part.kind == Part::Kind::kImage) messages.push_back(i);
  return messages;
}

/// The special token that ends a region, blanks before it included in the text; its place among the
/// tokens.
std::optional<size_t> find_stop(const Tokens& t, const std::string& text, const Region& region,
                                size_t limit, const Tokenizer& tokenizer) {
  auto i = static_cast<size_t>(
      std::partition_point(t.ranges.begin(), t.ranges.end(),
                           [&](const TextRange& r) { return r.begin < region.end; }) -
      t.ranges.begin());
  for (; i < t.ids.size() && t.ranges[i].end <= limit; ++i) {
    if (tokenizer.is_special(t.ids[i])) return i;
    if (!is_blank(
            std::string_view(text).substr(t.ranges[i].begin, t.ranges[i].end - t.ranges[i].begin)))
      break;
  }
  return std::nullopt;
}

}  // namespace

Rendered ChatTemplate::render(const Conversation& conversation, bool add_generation_prompt) const {
  check_conversation(conversation);
  Rendered out;
  if (conversation.messages.empty()) return out;
  const jinja::String text = render_text(conversation, add_generation_prompt);
  out.text = text.text;

  Tokens t;
  t.ids = tokenizer_.encode_with_ranges(text.text, literal_ranges(text), t.ranges);
  std::vector<Region> parts;
  for (const jinja::Mark& mark : text.marks)
    if (mark.origin >= 0) parts.push_back({mark.begin, mark.end, static_cast<size_t>(mark.origin)});
  const std::vector<size_t> images = image_messages(conversation);
  size_t places = 0;
  for (size_t i = 0; i < t.ids.size(); ++i) {
    if (image_ < 0 || t.ids[i] != image_) continue;
    if (places < images.size())
      parts.push_back({t.ranges[i].begin, t.ranges[i].end, images[places]});
    ++places;
  }
  check<FormatError>(places == images.size(),
                     "{}: the chat template gives {} image places for {} images",
                     conversation.where, places, images.size());
  const std::vector<Region> regions = regions_of(std::move(parts));

  // Markup belongs to the message that follows it; at the end, to the answer that is asked for.
  const std::string last_role =
      add_generation_prompt ? "assistant" : conversation.messages.back().role;
  t.kinds.assign(t.ids.size(), Span::Kind::kMarkup);
  t.roles.resize(t.ids.size());
  for (size_t i = 0, r = 0; i < t.ids.size(); ++i) {
    while (r < regions.size() && regions[r].end <= t.ranges[i].begin) ++r;
    t.roles[i] = r < regions.size() ? conversation.messages[regions[r].message].role : last_role;
    const bool inside =
        r < regions.size() && shares_a_byte(t.ranges[i], regions[r].begin, regions[r].end);
    if (inside) t.kinds[i] = t.ids[i] == image_ ? Span::Kind::kImage : Span::Kind::kText;
  }
  std::vector<std::pair<bool, size_t>> stops;  // of assistant's regions: found, token
  for (size_t r = 0; r < regions.size(); ++r) {
    const std::string& role = conversation.messages[regions[r].message].role;
    const size_t limit = r + 1 < regions.size() ? regions[r + 1].begin : text.text.size();
    const auto stop = find_stop(t, text.text, regions[r], limit, tokenizer_);
    if (role == "assistant") stops.emplace_back(stop.has_value(), stop.value_or(0));
    if (!stop) continue;
    t.kinds[*stop] = Span::Kind::kStop;
    t.roles[*stop] = role;
    for (size_t i = *stop; i-- > 0 && t.ranges[i].begin >= regions[r].end;) {
      t.kinds[i] = Span::Kind::kText;
      t.roles[i] = role;
    }
  }
  if (file_.body.has_generation()) {
    for (size_t i = 0; i < t.ids.size(); ++i) {
      const bool generated =
          std::any_of(text.marks.begin(), text.marks.end(), [&](const jinja::Mark& mark) {
            return mark.origin == jinja::kGeneration &&
                   shares_a_byte(t.ranges[i], mark.begin, mark.end);
          });
      if (generated) {
        if (t.kinds[i] == Span::Kind::kMarkup) t.kinds[i] = Span::Kind::kText;
        t.roles[i] = "assistant";
      } else if (t.roles[i] == "assistant" && t.kinds[i] != Span::Kind::kImage) {
        t.kinds[i] = Span::Kind::kMarkup;
      }
    }
  }
  if (!file_.body.has_generation())
    out.unmarked_calls =
        std::count_if(conversation.messages.begin(), conversation.messages.end(),
                      [](const Message& m) { return m.role == "assistant" && calls_tools(m); });
  for (const auto& [found, i] : stops)
    out.turn_stops.push_back(found && t.kinds[i] == Span::Kind::kStop ? t.ids[i] : -1);

  for (size_t i = 0; i < t.ids.size(); ++i) {
    const bool is_image = t.kinds[i] == Span::Kind::kImage;
    const auto begin = static_cast<int64_t>(out.ids.size());
    if (is_image) out.image_slots.push_back(begin);
    out.ids.insert(out.ids.end(), is_image ? static_cast<size_t>(image_tokens_) : 1, t.ids[i]);
    const auto end = static_cast<int64_t>(out.ids.size());
    if (!is_image && !out.spans.empty() && out.spans.back().kind == t.kinds[i] &&
        out.spans.back().role == t.roles[i])
      out.spans.back().end = end;
    else
      out.spans.push_back({begin, end, t.roles[i], t.kinds[i]});
  }
  return out;
}

bool ChatTemplate::is_stop(int64_t id) const {
  return std::find(stops_.begin(), stops_.end(), id) != stops_.end();
}

std::vector<int64_t> ChatTemplate::banned_ids() const {
  std::vector<int64_t> ids;
  if (image_ >= 0) ids.push_back(image_);
  if (!is_stop(pad_)) ids.push_back(pad_);
  return ids;
}

ChatTemplate ChatTemplate::with_image_tokens(int64_t count) const {
  ChatTemplate copy = *this;
  copy.image_tokens_ = count;
  return copy;
}

std::vector<std::string> ChatTemplate::findings(const Rendered& rendered) const {
  std::vector<std::string> list;
  const auto& ids = rendered.ids;
  if (begin_ >= 0 && ids.size() > 1 && ids[0] == begin_ && ids[1] == begin_)
    list.push_back(fmt::format("the text begins with two {}", tokenizer_.id_to_token(begin_)));
  size_t missing = 0, foreign = 0;
  for (const int32_t stop : rendered.turn_stops) {
    missing += stop < 0;
    foreign += stop >= 0 && !is_stop(stop);
  }
  if (rendered.unmarked_calls)
    list.push_back(fmt::format(
        "{} turns of the assistant have tool_calls, of which only what the data say is a "
        "target, not the template's text around it; {{% generation %}} marks all of it",
        rendered.unmarked_calls));
  if (missing)
    list.push_back(
        fmt::format("{} of {} turns of the assistant end without a stop token in the targets",
                    missing, rendered.turn_stops.size()));
  if (foreign)
    list.push_back(fmt::format(
        "{} of {} turns of the assistant end with a token that does not stop generation "
        "(eos_token_id of generation_config.json)",
        foreign, rendered.turn_stops.size()));
  return list;
}

std::vector<int64_t> labels_of(const Rendered& rendered, const std::vector<std::string>& train_on) {
  std::vector<int64_t> labels(rendered.ids.size(), -100);
  for (const Span& span : rendered.spans) {
    if (span.kind != Span::Kind::kText && span.kind != Span::Kind::kStop) continue;
    if (std::find(train_on.begin(), train_on.end(), span.role) == train_on.end()) continue;
    for (int64_t i = span.begin; i < span.end; ++i) labels[i] = rendered.ids[i];
  }
  return labels;
}

}  // namespace ocellus
