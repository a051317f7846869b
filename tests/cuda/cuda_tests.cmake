# The tests of the emulator once more, on the GPU: the program ocellus_cuda_tests of the preset cuda.
file(GLOB gpu_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cuda/simt/*.cpp)
list(FILTER gpu_tests EXCLUDE REGEX planted)
add_executable(ocellus_cuda_tests tests/cuda/gpu_main.cpp ${gpu_tests})
target_link_libraries(ocellus_cuda_tests PRIVATE ${OCELLUS_OBJECTS} doctest::doctest nlohmann_json::nlohmann_json)
# A packed program runs in whatever folder the pack lies (tools/gpu_check).
target_compile_definitions(ocellus_cuda_tests PRIVATE
  OCELLUS_SOURCE_DIR="$<IF:$<BOOL:${OCELLUS_STATIC}>,.,${CMAKE_SOURCE_DIR}>")
set_target_properties(ocellus_cuda_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
add_test(NAME cuda/all COMMAND ocellus_cuda_tests)
set_tests_properties(cuda/all PROPERTIES LABELS cuda)
