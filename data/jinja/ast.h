// The tree of a template. One struct for expressions and one for statements: what a node means by
// its fields stands beside its kind.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/jinja/value.h"

namespace ocellus::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

/// Arguments of a call, filter or test.
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr rest, named_rest;  // *args, **kwargs
};

enum class Comparison : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Expression {
  enum class Kind : uint8_t {
    kConstant,   // value
    kName,       // name
    kList,       // children
    kTuple,      // children
    kDict,       // children: key, value, key, value …
    kItem,       // children[0][children[1]]
    kAttribute,  // children[0].name
    kSlice,      // children[0][children[1] : children[2] : children[3]], null where left out
    kCall,       // children[0](arguments)
    kFilter,     // children[0] | name(arguments); null child: the body of a block
    kTest,       // children[0] is name(arguments)
    kNot,        // not children[0]
    kNegative,
    kPositive,
    kAnd,
    kOr,
    kArithmetic,          // children[0] operation children[1]
    kConcatenate,         // children ~ …
    kCompare,             // children[0] comparisons[0] children[1] comparisons[1] …
    kConditional,         // children[0] if children[1] else children[2] (may be null)
    kNamespaceReference,  // name.attribute, only to assign to
  };
  Kind kind;
  Place place;
  int depth = 1;  // of the tree
  std::string name, attribute;
  Value value;
  Operator operation{};
  std::vector<Comparison> comparisons;
  std::vector<ExpressionPtr> children;
  CallArguments arguments;
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

/// A macro, or the body of a call block.
struct MacroDefinition {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
};

struct Statement {
  enum class Kind : uint8_t {
    kData,         // text
    kOutput,       // {{ expressions }}
    kIf,           // branches
    kFor,          // target in expressions[0] if test, recursive; body, otherwise
    kSet,          // target = expressions[0]
    kSetBlock,     // target, filter, body
    kMacro,        // macro, body
    kCallBlock,    // expressions[0] is the call; macro, body
    kFilterBlock,  // filter, body
    kWith,         // targets = expressions; body
    kGeneration,   // body
    kBreak,
    kContinue,
  };
  Kind kind;
  Place place;
  std::string text;
  std::vector<ExpressionPtr> expressions;
  std::vector<std::pair<ExpressionPtr, Body>> branches;  // a null condition is "else"
  ExpressionPtr target, test, filter;
  std::vector<ExpressionPtr> targets;
  bool recursive = false;
  Body body, otherwise;
  MacroDefinition macro;
};

}  // namespace ocellus::jinja
