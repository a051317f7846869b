#include "data/tar.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>

#include "data/sha256.h"
#include "engine/check.h"
#include "engine/file.h"

namespace ocellus {
namespace {

constexpr uint64_t kTarBlock = 512;
constexpr uint64_t kLongestHeader =
    1 << 20;  // a pax header or long name above 1 MiB is an attack or damage

// ---- one header ----

// Fields: name 0+100, mode 100+8, uid 108+8, gid 116+8, size 124+12, mtime 136+12, checksum 148+8,
// type 156, link name 157+100, magic 257+6, version 263+2, …, prefix 345+155.
struct TarHeader {
  std::string_view block;  // 512 bytes

  std::string_view text(size_t at, size_t length) const {
    const std::string_view field = block.substr(at, length);
    return field.substr(0, field.find('\0'));
  }
  char type() const { return block[156]; }
  bool is_file() const { return type() == '0' || type() == '\0' || type() == '7'; }
  std::string name() const {
    const std::string_view prefix =
        block.substr(257, 6) == std::string_view("ustar\0", 6) ? text(345, 155) : "";
    return prefix.empty() ? std::string(text(0, 100)) : fmt::format("{}/{}", prefix, text(0, 100));
  }
  // Octal digits between blanks, or, with the top bit set, a big-endian number.
  std::optional<uint64_t> number(size_t at, size_t length) const {
    uint64_t value = 0;
    if (static_cast<unsigned char>(block[at]) == 0x80) {
      for (size_t i = 1; i < length; ++i) {
        if (value >> 55) return std::nullopt;
        value = value << 8 | static_cast<unsigned char>(block[at + i]);
      }
      return value;
    }
    size_t i = at;
    while (i < at + length && block[i] == ' ') ++i;
    for (; i < at + length && block[i] >= '0' && block[i] <= '7'; ++i) {
      if (value >> 60) return std::nullopt;
      value = value * 8 + static_cast<uint64_t>(block[i] - '0');
    }
    for (; i < at + length; ++i)
      if (block[i] != ' ' && block[i] != '\0') return std::nullopt;
    return value;
  }
  // The sum of all bytes, the checksum itself counted as blanks. Old archivers summed signed bytes.
  bool checksum_fits() const {
    const std::optional<uint64_t> stored = number(148, 8);
    int64_t plain = 8 * ' ', with_sign = plain;
    for (size_t i = 0; i < kTarBlock; ++i) {
      if (i >= 148 && i < 156) continue;
      plain += static_cast<unsigned char>(block[i]);
      with_sign += static_cast<signed char>(block[i]);
    }
    return stored &&
           (static_cast<int64_t>(*stored) == plain || static_cast<int64_t>(*stored) == with_sign);
  }
};

bool all_zero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

const char* kind_of(char type) {
  switch (type) {
    case '1':
      return "a hard link";
    case '2':
      return "a symbolic link";
    case '3':
    case '4':
      return "a device";
    case '6':
      return "a named pipe";
    case 'S':
      return "a sparse file";
    default:
      return "of an unknown type";
  }
}

/// A name that stays inside the folder it is unpacked to, without leading "./".
std::string clean_name(std::string name, const std::string& archive, uint64_t at) {
  while (name.rfind("./", 0) == 0)
    name.erase(0, std::min(name.find_first_not_of('/', 1), name.size()));
  check<FormatError>(name.empty() || name[0] != '/',
                     "{}: the member at byte {} has the absolute name {}", archive, at, name);
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    check<FormatError>(name.compare(begin, end - begin, "..") != 0,
                       "{}: the member at byte {} has the name {}, which leaves its folder",
                       archive, at, name);
    begin = end + 1;
  }
  return name;
}

// ---- pax records: "LENGTH KEY=VALUE\n", LENGTH counting the whole record ----
struct Extras {
  std::optional<std::string> name;
  std::optional<uint64_t> size;
};

void read_pax(std::string_view records, Extras& extras, const std::string& archive, uint64_t at) {
  auto need = [&](bool ok) {
    check<FormatError>(ok, "{}: the pax header at byte {} is malformed", archive, at);
  };
  while (!records.empty() && records[0] != '\0') {
    size_t length = 0;
    const auto parsed = std::from_chars(records.data(), records.data() + records.size(), length);
    need(parsed.ec == std::errc() && length <= records.size() && length >= 5);
    const size_t begin = static_cast<size_t>(parsed.ptr - records.data());
    need(begin + 1 < length && records[begin] == ' ' && records[length - 1] == '\n');
    const std::string_view record = records.substr(begin + 1, length - begin - 2);
    const size_t equals = record.find('=');
    need(equals != std::string_view::npos);
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") {
      need(!value.empty() && value.find('\0') == std::string_view::npos);
      extras.name = value;
    } else if (key == "size") {
      uint64_t size = 0;
      const auto number = std::from_chars(value.data(), value.data() + value.size(), size);
      need(number.ec == std::errc() && number.ptr == value.data() + value.size() &&
           size >> 62 == 0);
      extras.size = size;
    }
    check<FormatError>(key.rfind("GNU.sparse", 0) != 0,
                       "{}: the member at byte {} is a sparse file; only plain files are read",
                       archive, at);
    records.remove_prefix(length);
  }
}

// ---- sidecar ----
std::string fingerprint(std::string_view archive) {
  constexpr size_t kEnd = 4096;
  Sha256 hash;
  const size_t count = std::min(kEnd, archive.size());
  hash.update(archive.data(), count);
  hash.update(archive.data() + archive.size() - count, count);
  return hash.hex().substr(0, 16);
}

bool take_number(std::string_view& line, uint64_t& value) {
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr == line.data() + line.size() || *parsed.ptr != ' ')
    return false;
  line.remove_prefix(static_cast<size_t>(parsed.ptr - line.data()) + 1);
  return true;
}

// The members a sidecar lists, or nothing if it is not exactly right for this archive.
std::optional<std::vector<TarMember>> read_sidecar(std::string_view text,
                                                   std::string_view archive) {
  auto next_line = [&]() -> std::optional<std::string_view> {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    return line;
  };
  std::optional<std::string_view> line = next_line();
  const std::string head =
      fmt::format("ocellus-tar-index 1 {} {} ", archive.size(), fingerprint(archive));
  if (!line || line->rfind(head, 0) != 0) return std::nullopt;
  uint64_t count = 0;
  const std::string_view digits = line->substr(head.size());
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() ||
      count > text.size())
    return std::nullopt;

  std::vector<TarMember> members;
  members.reserve(count);
  uint64_t previous_end = 0;
  for (uint64_t i = 0; i < count; ++i) {
    line = next_line();
    TarMember member;
    if (!line || !take_number(*line, member.offset) || !take_number(*line, member.size))
      return std::nullopt;
    if (member.offset % kTarBlock != 0 || member.offset < previous_end + kTarBlock ||
        member.offset > archive.size() || member.size > archive.size() - member.offset)
      return std::nullopt;
    previous_end = member.offset + member.size;
    member.name = *line;
    try {
      if (clean_name(member.name, "", 0) != member.name) return std::nullopt;
    } catch (const FormatError&) {
      return std::nullopt;
    }
    members.push_back(std::move(member));
  }
  if (!text.empty()) return std::nullopt;
  return members;
}

// ---- writing ----
void put_octal(std::string& block, size_t at, size_t length, uint64_t value) {
  const std::string digits = fmt::format("{:0{}o}", value, length - 1);
  block.replace(at, digits.size(), digits);
}

void append_member(std::string& out, const std::string& name, char type, std::string_view content) {
  std::string block(kTarBlock, '\0');
  block.replace(0, std::min<size_t>(name.size(), 100), name, 0, 100);
  put_octal(block, 100, 8, 0644);
  put_octal(block, 108, 8, 0);
  put_octal(block, 116, 8, 0);
  put_octal(block, 124, 12, content.size());
  put_octal(block, 136, 12, 0);
  block.replace(148, 8, 8, ' ');
  block[156] = type;
  block.replace(257, 8, std::string_view("ustar\00000", 8));
  uint64_t sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  put_octal(block, 148, 7, sum);
  block[154] = '\0';
  out += block;
  out += content;
  out.append((kTarBlock - content.size() % kTarBlock) % kTarBlock, '\0');
}

std::string pax_record(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;  // blank, =, line end
  size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) ++length;  // it counts its own digits
  return fmt::format("{} {}={}\n", length, key, value);
}

}  // namespace

std::vector<TarMember> index_tar(std::string_view bytes, const std::string& archive) {
  check<FormatError>(bytes.substr(0, 2) != "\x1f\x8b",
                     "{}: is compressed with gzip; random access needs a plain tar file", archive);
  std::vector<TarMember> members;
  Extras extras;
  uint64_t at = 0;
  for (;;) {
    check<FormatError>(bytes.size() - at >= kTarBlock,
                       "{}: the archive ends at byte {} without an end mark (truncated?)", archive,
                       bytes.size());
    const TarHeader header{bytes.substr(at, kTarBlock)};
    if (all_zero(header.block)) break;
    check<FormatError>(
        header.checksum_fits(),
        "{}: the header at byte {} has a wrong checksum (damaged, or not a tar file)", archive, at);
    const bool listed = header.is_file();
    const std::optional<uint64_t> stored = header.number(124, 12);
    check<FormatError>(stored.has_value(), "{}: the header at byte {} has an unreadable size",
                       archive, at);
    const uint64_t size = listed && extras.size ? *extras.size : header.type() == '5' ? 0 : *stored;
    const uint64_t begin = at + kTarBlock, left = bytes.size() - begin;
    check<FormatError>(
        size <= left,
        "{}: the member at byte {} ({}) needs {} bytes, and {} are left in the file (truncated?)",
        archive, at, header.name(), size, left);
    const std::string_view content = bytes.substr(begin, size);

    if (header.type() == 'x' || header.type() == 'L') {
      check<FormatError>(size <= kLongestHeader,
                         "{}: the extended header at byte {} has {} bytes, at most {} are accepted",
                         archive, at, size, kLongestHeader);
      if (header.type() == 'x') {
        read_pax(content, extras, archive, at);
      } else {
        extras.name = content.substr(0, content.find('\0'));
      }
    } else if (listed) {
      std::string name =
          clean_name(extras.name ? std::move(*extras.name) : header.name(), archive, at);
      check<FormatError>(!name.empty(), "{}: the member at byte {} has no name", archive, at);
      if (name.back() != '/')
        members.push_back({std::move(name), begin, size});  // an old way to write folders
    } else {
      // Folders and comments for all members carry nothing; anything else is not a picture or a
      // text.
      check<FormatError>(header.type() == '5' || header.type() == 'g',
                         "{}: the member at byte {} ({}) is {}; only plain files are read", archive,
                         at, header.name(), kind_of(header.type()));
    }
    if (header.type() != 'x' && header.type() != 'L') extras = {};
    const uint64_t padded = (size + kTarBlock - 1) / kTarBlock * kTarBlock;
    check<FormatError>(padded <= left,
                       "{}: the member at byte {} ({}) is not padded to 512 bytes (truncated?)",
                       archive, at, header.name());
    at = begin + padded;
  }
  const size_t rest = bytes.find_first_not_of('\0', at);
  check<FormatError>(rest == std::string_view::npos,
                     "{}: the archive ends at byte {}, but something follows at byte {} (archives "
                     "joined by cat are not read)",
                     archive, at, rest);
  return members;
}

std::string tar_sidecar(std::string_view archive, const std::vector<TarMember>& members) {
  std::string text = fmt::format("ocellus-tar-index 1 {} {} {}\n", archive.size(),
                                 fingerprint(archive), members.size());
  for (const TarMember& member : members) {
    if (member.name.find('\n') != std::string::npos) return {};
    text += fmt::format("{} {} {}\n", member.offset, member.size, member.name);
  }
  return text;
}

TarFile::TarFile(const std::string& path, const TarOptions& options)
    : path_(path), file_(std::make_unique<MappedFile>(path)) {
  const std::string_view archive(reinterpret_cast<const char*>(file_->data()), file_->size());
  const std::string sidecar = path + ".idx";
  std::error_code ignored;
  if (options.read_sidecar && std::filesystem::is_regular_file(sidecar, ignored)) {
    std::optional<std::vector<TarMember>> members;
    try {
      members = read_sidecar(read_file(sidecar), archive);
    } catch (const Error&) {  // unreadable: as if it were not there
    }
    if (members) {
      members_ = std::move(*members);
      from_sidecar_ = true;
      return;
    }
  }
  members_ = index_tar(archive, path);
  if (archive.size() < options.write_sidecar_above) return;
  try {
    if (const std::string text = tar_sidecar(archive, members_); !text.empty())
      write_file_atomic(sidecar, text);
  } catch (const Error&) {  // the sidecar only saves time
  }
}

TarFile::~TarFile() = default;
TarFile::TarFile(TarFile&&) noexcept = default;
TarFile& TarFile::operator=(TarFile&&) noexcept = default;

std::string_view TarFile::bytes(size_t index) const {
  const TarMember& member = members_.at(index);
  const std::string_view archive(reinterpret_cast<const char*>(file_->data()), file_->size());
  if (from_sidecar_) {
    const TarHeader header{archive.substr(member.offset - kTarBlock, kTarBlock)};
    bool ok = header.checksum_fits() && header.is_file();
    // A longer name or a huge size stands in an extended header, which the sidecar does not point
    // at.
    if (ok && member.size < uint64_t{1} << 33) ok = header.number(124, 12) == member.size;
    if (ok && member.name.size() < 100 && header.text(345, 155).empty()) {
      const std::string name = header.name();
      ok = name == member.name ||
           (name.rfind("./", 0) == 0 && clean_name(name, path_, member.offset) == member.name) ||
           std::any_of(member.name.begin(), member.name.end(),
                       [](char c) { return static_cast<signed char>(c) < 0; });
    }
    check<FormatError>(ok, "{}: {} is not at byte {} as {}.idx says; delete that file", path_,
                       member.name, member.offset, path_);
  }
  return archive.substr(member.offset, member.size);
}

std::string tar_bytes(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out;
  for (const auto& [name, content] : files) {
    check<UsageError>(!name.empty() && name.find('\0') == std::string::npos,
                      "tar: a member needs a name without NUL, got \"{}\"", name);
    if (name.size() > 100)
      append_member(out, "PaxHeaders/long-name", 'x', pax_record("path", name));
    append_member(out, name, '0', content);
  }
  out.append(2 * kTarBlock, '\0');
  return out;
}

void write_tar(const std::string& path,
               const std::vector<std::pair<std::string, std::string>>& files) {
  write_file_atomic(path, tar_bytes(files));
}

std::vector<TarSample> group_samples(const std::vector<TarMember>& members,
                                     const std::string& archive) {
  std::vector<TarSample> samples;
  for (size_t i = 0; i < members.size(); ++i) {
    const std::string& name = members[i].name;
    if (name.size() >= 4 && name.rfind("__", 0) == 0 && name.compare(name.size() - 2, 2, "__") == 0)
      continue;
    const size_t base = name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1;
    const size_t dot = name.find('.', base);
    if (dot == std::string::npos || dot == base) continue;
    const std::string_view key = std::string_view(name).substr(0, dot);
    std::string suffix = name.substr(dot + 1);
    for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (samples.empty() || samples.back().key != key) samples.push_back({std::string(key), {}});
    TarSample& sample = samples.back();
    for (const TarSample::File& file : sample.files)
      check<FormatError>(file.suffix != suffix,
                         "{}: the sample {} has two files with the suffix {} ({} at byte {})",
                         archive, key, suffix, name, members[i].offset);
    sample.files.push_back({std::move(suffix), i});
  }
  return samples;
}

}  // namespace ocellus
