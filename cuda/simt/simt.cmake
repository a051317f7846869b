# The kernels of cuda/ once more, compiled by g++ for the emulator: the program ocellus_simt_tests.
# Their loads and stores are instrumented (-fsanitize=thread), but the program is linked without that
# sanitizer: cuda/simt/hooks.cpp answers.
file(GLOB simt_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cuda/simt/*.cpp)
file(GLOB emulated_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cuda/kernels/*.cu ${CMAKE_SOURCE_DIR}/cuda/ladder/*.cu
  ${CMAKE_SOURCE_DIR}/tests/cuda/simt/*.cu)
file(GLOB simt_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cuda/simt/*.cpp)
set_source_files_properties(${emulated_sources} PROPERTIES LANGUAGE CXX)

add_library(ocellus_simt_flags INTERFACE)
target_include_directories(ocellus_simt_flags INTERFACE ${CMAKE_SOURCE_DIR}/cuda/simt/include)
target_compile_definitions(ocellus_simt_flags INTERFACE OCELLUS_SIMT)
target_compile_options(ocellus_simt_flags INTERFACE -Wno-conversion -Wno-unknown-pragmas)

add_library(ocellus_emulated OBJECT ${emulated_sources})
target_link_libraries(ocellus_emulated PRIVATE ocellus_flags ocellus_simt_flags)
target_compile_options(ocellus_emulated PRIVATE -g1 -fsanitize=thread -fno-optimize-sibling-calls
  "SHELL:--param tsan-instrument-func-entry-exit=0")

add_executable(ocellus_simt_tests tests/main.cpp ${simt_tests} ${simt_sources} cuda/runtime/context.cpp
  cuda/runtime/device_matrix.cpp cuda/runtime/staging.cpp cuda/ladder/ladder.cpp)
target_link_libraries(ocellus_simt_tests PRIVATE ocellus_emulated ${OCELLUS_OBJECTS} ocellus_flags
  ocellus_simt_flags doctest::doctest nlohmann_json::nlohmann_json)
target_compile_definitions(ocellus_simt_tests PRIVATE OCELLUS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
check_twins(ocellus_simt_tests)
set_target_properties(ocellus_simt_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

add_test(NAME simt/planted COMMAND ocellus_simt_tests --source-file=*tests/cuda/simt/planted*)
add_test(NAME simt/registry COMMAND ocellus_simt_tests --source-file=*tests/cuda/simt/parity*)
add_test(NAME simt/model COMMAND ocellus_simt_tests --source-file=*tests/cuda/simt/model*)
add_test(NAME simt/ladder COMMAND ocellus_simt_tests --source-file=*tests/cuda/simt/ladder*)
add_test(NAME simt/shapes COMMAND ocellus_simt_tests --source-file=*tests/cuda/simt/shapes*)
set_tests_properties(simt/planted simt/registry simt/shapes simt/model simt/ladder PROPERTIES LABELS simt)
