# One binary for all unit tests; ctest entries select by name. Each entry prints a tally that tools/test sums.
file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*_test.cpp)
add_executable(ocellus_tests tests/main.cpp ${test_sources})
target_link_libraries(ocellus_tests PRIVATE ${OCELLUS_OBJECTS} doctest::doctest nlohmann_json::nlohmann_json)
set_target_properties(ocellus_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# The registry suite: one entry a check.
add_executable(ocellus_suite tests/autograd/registry_suite.cpp)
target_link_libraries(ocellus_suite PRIVATE ${OCELLUS_OBJECTS})
set_target_properties(ocellus_suite PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
foreach(check coverage gradient fan-out reference precision layout bounds repeat saved)
  add_test(NAME ${check}/registry COMMAND ocellus_suite ${check})
  set_tests_properties(${check}/registry PROPERTIES LABELS ${check})
endforeach()
