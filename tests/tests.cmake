# One binary for all unit tests; ctest entries select by name. Each entry prints a tally that tools/test sums.
file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*_test.cpp)
add_executable(ocellus_tests tests/main.cpp ${test_sources})
target_link_libraries(ocellus_tests PRIVATE ${OCELLUS_OBJECTS} doctest::doctest nlohmann_json::nlohmann_json)
set_target_properties(ocellus_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
