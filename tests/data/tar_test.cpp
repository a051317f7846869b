#include "data/tar.h"

#include <sstream>

#include "engine/file.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

std::string refusal(const std::string& bytes) {
  return error_of<FormatError>([&] { index_tar(bytes, "x.tar"); });
}

// Rewrites the checksum of the header at `at` after its bytes were changed.
void reseal(std::string& bytes, size_t at) {
  bytes.replace(at + 148, 8, 8, ' ');
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(bytes[at + i]);
  char text[8];
  std::snprintf(text, sizeof text, "%06o", sum);
  bytes.replace(at + 148, 7, text, 7);
}

std::string with_type(char type) {
  std::string bytes = tar_bytes({{"a.txt", "hello"}});
  bytes[156] = type;
  reseal(bytes, 0);
  return bytes;
}

std::string with_name(const std::string& name) {
  std::string bytes = tar_bytes({{"a.txt", "hello"}});
  bytes.replace(0, 100, 100, '\0');
  bytes.replace(0, name.size(), name);
  reseal(bytes, 0);
  return bytes;
}

std::string run(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  for (int c; (c = fgetc(pipe)) != EOF;) out.push_back(static_cast<char>(c));
  pclose(pipe);
  return out;
}

const std::string kLong(180, 'n');

}  // namespace

TEST_CASE("tar: what is written is read back, and GNU tar reads it too") {
  const Files files = {{"00000.png", std::string(700, 'p')},
                       {"00000.json", "{}"},
                       {"empty.txt", ""},
                       {"deep/" + kLong + "/f.txt", "long"},
                       {"exact.bin", std::string(1024, 'x')}};
  TemporaryFolder folder;
  const std::string path = folder.path / "x.tar";
  write_tar(path, files);
  CHECK(tar_bytes(files) == slurp(path));
  const TarFile tar(path);
  REQUIRE(tar.members().size() == files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    CHECK(tar.members()[i].name == files[i].first);
    CHECK(tar.bytes(i) == files[i].second);
  }
  std::istringstream listing(run("tar tf '" + path + "'"));
  for (const auto& file : files) {
    std::string name;
    std::getline(listing, name);
    CHECK(name == file.first);
  }
}

TEST_CASE("tar: archives of GNU tar in its three formats") {
  TemporaryFolder folder;
  spill(folder.path / "d" / "00001.txt", "one");
  spill(folder.path / "d" / (kLong + ".txt"), "two");
  spill(folder.path / "d" / "\xc3\xa9.txt", "three");
  for (std::string format : {"gnu", "pax", "ustar"}) {
    CAPTURE(format);
    const std::string path = folder.path / (format + ".tar");
    // ustar cannot hold the long name: tar leaves it out and says so.
    run("cd '" + folder.path.string() + "' && tar --sort=name --format=" + format + " -cf " + path +
        " ./d 2>/dev/null");
    const TarFile tar(path);
    REQUIRE(tar.members().size() == (format == "ustar" ? 2 : 3));
    CHECK(tar.members()[0].name == "d/00001.txt");
    CHECK(tar.bytes(0) == "one");
    if (format != "ustar") CHECK(tar.members()[1].name == "d/" + kLong + ".txt");
    CHECK(tar.members().back().name == "d/\xc3\xa9.txt");
    CHECK(tar.bytes(tar.members().size() - 1) == "three");
  }
}

TEST_CASE("tar: damage is named with its place") {
  const std::string good = tar_bytes({{"a.txt", std::string(600, 'a')}, {"b.txt", "hello"}});
  CHECK(index_tar(good, "x.tar").size() == 2);
  CHECK(refusal("") == "x.tar: the archive ends at byte 0 without an end mark (truncated?)");
  CHECK(refusal(good.substr(0, 512 + 1024)) ==
        "x.tar: the archive ends at byte 1536 without an end mark (truncated?)");
  CHECK(refusal(good.substr(0, 900)) ==
        "x.tar: the member at byte 0 (a.txt) needs 600 bytes, and 388 are left in the file "
        "(truncated?)");
  CHECK(refusal(good.substr(0, 1200)) ==
        "x.tar: the member at byte 0 (a.txt) is not padded to 512 bytes (truncated?)");
  std::string flipped = good;
  flipped[1536] ^= 1;
  CHECK(refusal(flipped) ==
        "x.tar: the header at byte 1536 has a wrong checksum (damaged, or not a tar file)");
  CHECK(refusal(good + good) ==
        "x.tar: the archive ends at byte 2560, but something follows at byte 3584 (archives joined "
        "by cat are not read)");
  CHECK(refusal("\x1f\x8b\x08") ==
        "x.tar: is compressed with gzip; random access needs a plain tar file");
  std::string size = good;
  size.replace(124, 11, "7777777777z");
  reseal(size, 0);
  CHECK(refusal(size) == "x.tar: the header at byte 0 has an unreadable size");
  size.replace(124, 11, "77777777777");
  reseal(size, 0);
  CHECK(refusal(size) ==
        "x.tar: the member at byte 0 (a.txt) needs 8589934591 bytes, and 3072 are left in the file "
        "(truncated?)");
  size.replace(124, 12, 12, '\xff');
  size[124] = '\x80';
  reseal(size, 0);
  CHECK(contains(refusal(size), "unreadable size"));
}

TEST_CASE("tar: every truncation and flipped header bit is refused or harmless") {
  const std::string good =
      tar_bytes({{"a.txt", "aaaa"}, {std::string(120, 'l') + ".txt", "hello"}});
  for (size_t n = 0; n + 1024 < good.size(); ++n)
    CHECK(contains(refusal(good.substr(0, n)), "x.tar: "));
  for (size_t bit = 0; bit < 512 * 8; ++bit) {
    std::string damaged = good;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    // A leading zero or the end of the checksum may become a blank; anything else is noticed.
    if (refusal(damaged) == "(no error)") CHECK(index_tar(damaged, "x.tar")[0].name == "a.txt");
    CHECK((refusal(damaged) != "(no error)" || (bit / 8 >= 148 && bit / 8 < 156)));
  }
}

TEST_CASE("tar: links, devices and names that leave the folder are refused") {
  CHECK(refusal(with_type('2')) ==
        "x.tar: the member at byte 0 (a.txt) is a symbolic link; only plain files are read");
  CHECK(contains(refusal(with_type('1')), "a hard link"));
  CHECK(contains(refusal(with_type('3')), "a device"));
  CHECK(contains(refusal(with_type('S')), "a sparse file"));
  CHECK(refusal(with_name("/etc/passwd")) ==
        "x.tar: the member at byte 0 has the absolute name /etc/passwd");
  CHECK(refusal(with_name("a/../../b")) ==
        "x.tar: the member at byte 0 has the name a/../../b, which leaves its folder");
  CHECK(contains(refusal(with_name("..")), "leaves its folder"));
  CHECK(contains(refusal(with_name(".//../x")), "leaves its folder"));
  CHECK(refusal(with_name("")) == "x.tar: the member at byte 0 has no name");
  CHECK(index_tar(with_name("././a..b/c.txt"), "x.tar")[0].name == "a..b/c.txt");
  // The same through the two kinds of long names.
  std::string pax = tar_bytes({{"../" + kLong, "x"}});
  CHECK(contains(refusal(pax), "which leaves its folder"));
  const size_t record = 512;
  pax[record] = 'x';
  CHECK(refusal(pax) == "x.tar: the pax header at byte 0 is malformed");
}

TEST_CASE("tar: extended headers that are too long or describe sparse files are refused") {
  std::string big = tar_bytes({{"a.txt", std::string((1 << 20) + 1, 'x')}});
  big[156] = 'x';
  reseal(big, 0);
  CHECK(refusal(big) ==
        "x.tar: the extended header at byte 0 has 1048577 bytes, at most 1048576 are accepted");
  std::string sparse = tar_bytes({{"a.txt", "22 GNU.sparse.major=1\n"}, {"b.txt", "x"}});
  sparse[156] = 'x';
  reseal(sparse, 0);
  CHECK(refusal(sparse) ==
        "x.tar: the member at byte 0 is a sparse file; only plain files are read");
}

TEST_CASE("tar: the sidecar saves the walk, and is ignored when it does not fit") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.tar";
  const Files files = {{"00000.png", "picture"}, {"00000.json", "{}"}, {kLong + ".txt", "long"}};
  write_tar(path, files);
  CHECK_FALSE(TarFile(path, {.write_sidecar_above = 1 << 20}).from_sidecar());
  CHECK_FALSE(std::filesystem::exists(path + ".idx"));
  CHECK_FALSE(TarFile(path, {.write_sidecar_above = 0}).from_sidecar());
  const std::string sidecar = slurp(path + ".idx");
  CHECK(sidecar.rfind("ocellus-tar-index 1 ", 0) == 0);
  {
    const TarFile tar(path);
    CHECK(tar.from_sidecar());
    for (size_t i = 0; i < files.size(); ++i) {
      CHECK(tar.members()[i].name == files[i].first);
      CHECK(tar.bytes(i) == files[i].second);
    }
  }
  // Any other sidecar is passed over.
  for (const std::string& bad :
       {std::string(), std::string("hello\n"), sidecar.substr(0, sidecar.size() - 1), sidecar + "x",
        sidecar.substr(0, sidecar.find('\n') + 1)}) {
    spill(path + ".idx", bad);
    CHECK_FALSE(TarFile(path).from_sidecar());
  }
  // One with a wrong place or name passes until the member is read.
  std::string renamed = sidecar;
  renamed.replace(renamed.find("00000.png"), 5, "00001");
  spill(path + ".idx", renamed);
  const TarFile tar(path);
  CHECK(tar.from_sidecar());
  CHECK(error_of<FormatError>([&] { tar.bytes(0); }) ==
        path + ": 00001.png is not at byte 512 as " + path + ".idx says; delete that file");
  CHECK(tar.bytes(1) == "{}");
}

TEST_CASE("tar: WebDataset samples are consecutive members with one key") {
  auto groups = [](std::vector<std::string> names) {
    std::vector<TarMember> members;
    for (auto& name : names) members.push_back({name, 512 * (members.size() + 1), 0});
    std::string out;
    for (const TarSample& sample : group_samples(members, "x.tar")) {
      out += sample.key + ":";
      for (const auto& file : sample.files)
        out += " " + file.suffix + "@" + std::to_string(file.member);
      out += "; ";
    }
    return out;
  };
  CHECK(groups({"a/0.PNG", "a/0.seg.json", "a/1.png", "b/1.png"}) ==
        "a/0: png@0 seg.json@1; a/1: png@2; b/1: png@3; ");
  CHECK(groups({"a.b/0.png", "README", "__meta__", ".hidden", "0.png", "a.b/0.txt"}) ==
        "a.b/0: png@0; 0: png@4; a.b/0: txt@5; ");
  CHECK(error_of<FormatError>([&] {
          groups({"0.png", "0.json", "0.PNG"});
        }) == "x.tar: the sample 0 has two files with the suffix png (0.PNG at byte 1536)");
}

TEST_CASE("tar: a missing archive is a sentence") {
  CHECK(contains(error_of<FormatError>([] { TarFile("/nowhere/x.tar"); }), "/nowhere/x.tar: "));
}

TEST_CASE("tar: the bundled easy-VQA shards are whole and their sidecars fit") {
  const auto folder = source_root() / "data/samples/easy_vqa";
  for (const char* name : {"train-000.tar", "train-007.tar", "test-000.tar"}) {
    const std::string path = folder / name;
    const TarFile quick(path),
        walked(path, {.read_sidecar = false, .write_sidecar_above = ~uint64_t{0}});
    CHECK(quick.from_sidecar());
    REQUIRE(quick.members().size() == 1000);
    for (size_t i = 0; i < 1000; ++i) CHECK(quick.bytes(i) == walked.bytes(i));
    CHECK(tar_sidecar(slurp(path), walked.members()) == slurp(path + ".idx"));
    CHECK(group_samples(quick.members(), name).size() == 500);
  }
}

TEST_CASE("tar: writing refuses a name that cannot be stored") {
  CHECK(error_of<UsageError>([] {
          tar_bytes({{"", "x"}});
        }) == "tar: a member needs a name without NUL, got \"\"");
}
