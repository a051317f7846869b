# Writes OUTPUT, a C++ file that holds the text of the op sources (see tools/ocellus/embedded_sources.h).
# Run as: cmake -DROOT=… -DOUTPUT=… -P tools/build/embed_sources.cmake
file(GLOB sources RELATIVE ${ROOT} ${ROOT}/autograd/ops/*.cpp ${ROOT}/engine/scalar/*.h)
list(REMOVE_ITEM sources engine/scalar/math.h)  # scalar functions, some named as ops are
list(INSERT sources 0 autograd/ops.h autograd/checkpoint.h)
set(out "#include \"tools/ocellus/embedded_sources.h\"\n\nnamespace ocellus {\nconst std::vector<EmbeddedSource>& embedded_sources() {\n  static const std::vector<EmbeddedSource> sources = {\n")
foreach(source ${sources})
  if(EXISTS ${ROOT}/${source})
    file(READ ${ROOT}/${source} text)
    # String literals of at most some kilobytes each: compilers limit their length.
    string(LENGTH "${text}" length)
    set(position 0)
    set(literals "")
    while(position LESS length)
      string(SUBSTRING "${text}" ${position} 8000 piece)
      string(APPEND literals "R\"~~~(${piece})~~~\"\n")
      math(EXPR position "${position} + 8000")
    endwhile()
    string(APPEND out "{\"${source}\",\n${literals}},\n")
  endif()
endforeach()
# Kernels by name only: the page of an op says where they stand.
file(GLOB kernels RELATIVE ${ROOT} ${ROOT}/engine/scalar/*.def ${ROOT}/engine/kernels/*.h ${ROOT}/engine/cpu/*.cpp ${ROOT}/cuda/kernels/*.cu)
foreach(kernel ${kernels})
  string(APPEND out "{\"${kernel}\", \"\"},\n")
endforeach()
string(APPEND out "  };\n  return sources;\n}\n}  // namespace ocellus\n")
file(WRITE ${OUTPUT}.new "${out}")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
